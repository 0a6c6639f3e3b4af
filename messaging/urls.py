"""Below ``/chat/``."""

from __future__ import annotations

from django.urls import path

from messaging import views

urlpatterns = [
    path("", views.chat, name="chat"),
    path("start/", views.start_chat, name="chat-start"),
    path("<uuid:conversation>/", views.chat, name="chat-room"),
]
