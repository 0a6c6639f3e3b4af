"""Which address is answered by which app."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.urls import include, path

from friends.views import add_by_link
from messaging.api import make_report
from messaging.views import own_reports
from securechat import views

urlpatterns = [
    path("", views.start, name="start"),
    path("", include("accounts.urls")),
    path("friends/", include("friends.urls")),
    path("add/<str:username>", add_by_link, name="friend-link"),
    path("chat/", include("messaging.urls")),
    path("api/reports/", make_report, name="api-reports"),
    path("reports/", own_reports, name="reports"),
    path("trust/", views.trust, name="trust"),
    path("trust/root.crt", views.root_certificate, name="root-certificate"),
    path("trust/qr.svg", views.trust_qr, name="trust-qr"),
    path("about/", views.about, name="about"),
    path("what-the-server-sees/", views.what_the_server_sees, name="what-the-server-sees"),
    path("build/", views.running_build, name="build"),
    path(f"{settings.ADMIN_PATH}/", admin.site.urls),
]

handler404 = "securechat.views.not_found"
handler403 = "securechat.views.forbidden"
handler500 = "securechat.views.server_error"
