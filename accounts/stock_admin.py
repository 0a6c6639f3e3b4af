"""What other apps register in the admin by themselves, as it is here: groups audited, secrets of second factors nowhere."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin
from django.contrib.auth.models import Group
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from securechat.audited_admin import AuditedModelAdmin


class AuditedGroupAdmin(AuditedModelAdmin, GroupAdmin):
    """Roles. Only a superuser changes what one may do."""


def replace() -> None:
    """Once every app has registered its own."""
    admin.site.unregister([Group, StaticDevice, TOTPDevice])
    admin.site.register(Group, AuditedGroupAdmin)
