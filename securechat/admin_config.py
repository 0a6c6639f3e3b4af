"""Which admin site this project has. By its name alone, as ``securechat`` does not import the apps above it."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class SecureChatAdminConfig(AdminConfig):
    default_site = "accounts.admin_site.SecureChatAdminSite"
