"""The pages of friends, under /friends/."""

from __future__ import annotations

from django.urls import path

from friends import views

urlpatterns = [
    path("", views.friend_list, name="friend-list"),
    path("add/", views.add_friend, name="friend-add"),
    path("requests/", views.friend_requests, name="friend-requests"),
    path("requests/answer/", views.answer_requests, name="friend-requests-answer"),
    path("requests/<uuid:public_id>/withdraw/", views.withdraw, name="friend-request-withdraw"),
    path("<uuid:public_id>/unfriend/", views.unfriend, name="friend-unfriend"),
    path("<uuid:public_id>/block/", views.block, name="friend-block"),
    path("<uuid:public_id>/unblock/", views.unblock, name="friend-unblock"),
]
