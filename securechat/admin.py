"""The operators' admin: Django's own, under our name, with a log-in that never sees a password."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig
from django.contrib.admin.sites import AdminSite


class SecureChatAdminSite(AdminSite):
    site_header = "SecureChat"
    site_title = "SecureChat admin"
    index_title = "Keep order"


class SecureChatAdminConfig(AdminConfig):
    default_site = "securechat.admin.SecureChatAdminSite"
