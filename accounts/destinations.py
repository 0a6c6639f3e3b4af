"""Where to go after a log-in: a path of this site that the page was asked for, or the start page."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from accounts.models import User


def next_of(request: HttpRequest) -> str:
    """``?next=`` when it stays on this host, else the start page; never a page that leads back here."""
    return safe_path(request, request.GET.get("next", ""))


def safe_path(request: HttpRequest, asked: str) -> str:
    """``asked`` where it may be followed, else the start page."""
    is_safe = url_has_allowed_host_and_scheme(
        asked, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    if not is_safe or not asked.startswith("/") or asked.split("?")[0] in _dead_ends():
        return resolve_url(settings.LOGIN_REDIRECT_URL)
    return asked


def may_go_to(request: HttpRequest, user: User) -> bool:
    """Whether it is of use to send this person to ``next``: the admin would only show its log-in again."""
    return user.is_staff or not next_of(request).startswith(reverse("admin:index"))


def _dead_ends() -> frozenset[str]:
    return frozenset(reverse(name) for name in ("log-in", "sign-up", "log-out", "recover"))
