"""The operators' admin: Django's own, under our name, with a log-in that never sees a password."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.admin.sites import AdminSite
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from accounts import throttling, views
from accounts.models import User
from accounts.page_data import PLAIN_FORM_REFUSED, page_data
from accounts.wire import is_auth_key
from securechat.errors import TooFast


class DerivedKeyAuthenticationForm(AdminAuthenticationForm):
    """For who posts the form itself; the page's script logs in through the JSON request instead."""

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if not is_auth_key(password):
            raise forms.ValidationError(PLAIN_FORM_REFUSED, code="plain_password")
        return password

    def clean(self) -> dict[str, Any]:
        """Without a password that may be tried there is no attempt."""
        if "password" not in self.cleaned_data:
            return self.cleaned_data
        assert self.request is not None
        try:
            throttling.throttle_log_in(self.request, self.cleaned_data.get("username", ""))
        except TooFast as refusal:
            raise forms.ValidationError(str(refusal), code=refusal.code) from None
        return super().clean()


class SecureChatAdminSite(AdminSite):
    site_header = "SecureChat"
    site_title = "SecureChat admin"
    index_title = "Keep order"
    login_form = DerivedKeyAuthenticationForm
    login_template = "admin/login.html"

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        not_staff = request.user.username if isinstance(request.user, User) else None
        context = {
            "page_data": page_data(request, next_path=self._next_of(request)),
            "not_staff": not_staff,
            "site_name": self.site_header,  # Django's log-in view would put the host there.
        }
        response: HttpResponse = super().login(request, {**context, **(extra_context or {})})
        return response

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """The site's own: it tells open sockets, and asks what shall stay in this browser."""
        return views.log_out(request)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Django's form would carry the password to the server."""
        return redirect("settings")

    def _next_of(self, request: HttpRequest) -> str:
        asked = request.GET.get("next", "")
        here = url_has_allowed_host_and_scheme(
            asked, allowed_hosts={request.get_host()}, require_https=request.is_secure()
        )
        inside = here and asked.startswith(reverse("admin:index")) and asked != reverse("admin:login")
        return asked if inside else reverse("admin:index")
