"""The operators' admin: Django's own, under our name, with a log-in that never sees a password."""

from __future__ import annotations

from base64 import b32encode
from typing import Any
from urllib.parse import urlencode

import segno
from django import forms
from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.admin.sites import AdminSite
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts import front_page, throttling, views
from accounts.errors import ShutOut
from accounts.models import User
from accounts.page_data import PLAIN_FORM_REFUSED, page_data
from accounts.services import abuse_signals, operators, sanctions, second_factor
from accounts.wire import is_auth_key
from securechat import audit
from securechat.errors import DomainError, TooFast


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
        source = audit.source_of(self.request)
        try:
            cleaned: dict[str, Any] = super().clean()
        except forms.ValidationError:
            abuse_signals.note_wrong_password(self.cleaned_data.get("username", ""))
            operators.note_refused_log_in(self.cleaned_data.get("username", ""), source=source)
            raise
        user = self.get_user()
        assert isinstance(user, User)
        try:
            sanctions.require_let_in(user)
        except ShutOut as refusal:
            raise forms.ValidationError(str(refusal), code=refusal.code) from None
        operators.note_log_in(user, source=source)
        return cleaned


class SecureChatAdminSite(AdminSite):
    site_header = "SecureChat"
    site_title = "SecureChat admin"
    index_title = "Keep order"
    login_form = DerivedKeyAuthenticationForm
    login_template = "admin/login.html"

    def has_permission(self, request: HttpRequest) -> bool:
        """Staff alone sees nothing: the second factor has to be fresh, and each page asks for its own permission."""
        if not super().has_permission(request):
            return False
        return not settings.ADMIN_SECOND_FACTOR or second_factor.is_fresh(request)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        page = path("second-factor/", never_cache(self.second_factor), name="second-factor")
        return [page, *super().get_urls()]

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().index(
            request, {"panels": front_page.panels_for(request.user), **(extra_context or {})}
        )

    def second_factor(self, request: HttpRequest) -> HttpResponse:
        """Asks for a code; who has no second factor yet is led to enrol one."""
        user = request.user
        if not isinstance(user, User) or not super().has_permission(request):
            return redirect("admin:login")
        go_on = self._next_of(request)
        if self.has_permission(request):
            return redirect(go_on)
        context = {
            **self.each_context(request),
            "title": "Second factor",
            "available_apps": [],
            "is_nav_sidebar_enabled": False,
            "next": go_on,
        }
        enrolled = second_factor.is_enrolled(user)
        if request.method == "POST":
            code, source = request.POST.get("code", "")[:20], audit.source_of(request)
            try:
                if enrolled:
                    second_factor.note_proved(
                        request, second_factor.prove(user=user, code=code, source=source)
                    )
                    return redirect(go_on)
                device, codes = second_factor.finish_enrolment(user=user, code=code, source=source)
                second_factor.note_proved(request, device)
                return render(request, "admin/second_factor.html", {**context, "codes": codes})
            except DomainError as refusal:
                context["refusal"] = _sentence_of(refusal)
        if not enrolled:
            context.update(_picture_of(second_factor.begin_enrolment(user)))
        return render(
            request, "admin/second_factor.html", context, status=403 if "refusal" in context else 200
        )

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.method == "GET" and super().has_permission(request) and not self.has_permission(request):
            query = urlencode({"next": self._next_of(request)})
            return redirect(f"{reverse('admin:second-factor')}?{query}")
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
        asked = request.POST.get("next", request.GET.get("next", ""))
        here = url_has_allowed_host_and_scheme(
            asked, allowed_hosts={request.get_host()}, require_https=request.is_secure()
        )
        inside = here and asked.startswith(reverse("admin:index"))
        dead_ends = (reverse("admin:login"), reverse("admin:second-factor"))
        return asked if inside and not asked.startswith(dead_ends) else reverse("admin:index")


def _sentence_of(refusal: DomainError) -> str:
    if isinstance(refusal, TooFast) and refusal.retry_after_seconds:
        return f"Too soon after a wrong code: wait {refusal.retry_after_seconds} s."
    return str(refusal)


def _picture_of(device: TOTPDevice) -> dict[str, Any]:
    """As SVG in the page: a secret that has an address of its own could be kept somewhere on the way."""
    code = segno.make(device.config_url, micro=False, error="m")
    svg = code.svg_inline(border=2, dark="#000", light="#fff", omitsize=True)
    secret = b32encode(device.bin_key).decode()
    return {
        "picture": mark_safe(svg),  # noqa: S308 - squares that segno drew; the address in them is no markup
        "secret": " ".join(secret[start : start + 4] for start in range(0, len(secret), 4)),
    }
