"""The account's pages. What they send goes through ``accounts.api``: a plain form would carry the password."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.destinations import may_go_to, next_of, safe_path
from accounts.models import RecoveryCode, User
from accounts.page_data import PLAIN_FORM_REFUSED, page_data
from accounts.services import key_chain, sanctions, sessions

_REASONS = {
    "locked=1": "SecureChat is locked in this browser. Type your password to go on.",
    "again=1": "Your keys were renewed in another browser. Type your password to go on.",
    "again=keys": "This browser has no keys for you. Type your password to get them.",
    "signed_out=1": "You were signed out on this browser.",
    "deleted=1": "Your account is deleted.",
}


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def sign_up(request: HttpRequest) -> HttpResponse:
    return _form_page(request, "accounts/sign_up.html", sign_up_is=settings.SIGN_UP)


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def log_in(request: HttpRequest) -> HttpResponse:
    """Who is logged in has to enter the password all the same where the browser has no keys that fit (``_REASONS``)."""
    reason = next((sentence for query, sentence in _REASONS.items() if query in _asked(request)), None)
    if reason is not None:
        return _answer(request, "accounts/log_in.html", page_data(request), reason=reason)
    return _form_page(request, "accounts/log_in.html")


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def recover(request: HttpRequest) -> HttpResponse:
    """Open to who is logged in, too: the way back for a browser whose keys are gone."""
    return _answer(request, "accounts/recover.html", page_data(request))


@login_required
@require_GET
def browsers(request: HttpRequest) -> HttpResponse:
    """Which browsers there are is for the script to say: only it can check the key chain."""
    return _answer(request, "accounts/browsers.html", page_data(request))


@login_required
@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def account_settings(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)
    state = {
        "has_keys": key_chain.has_keys(request.user),
        "recovery_confirmed": RecoveryCode.objects.filter(user=request.user, confirmed=True).exists(),
    }
    return _answer(request, "accounts/settings.html", {**page_data(request), **state}, **state)


@login_required
@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def own_data(request: HttpRequest) -> HttpResponse:
    """To take along what the server has, and to delete the account."""
    return _answer(request, "accounts/own_data.html", page_data(request))


@login_required
@require_POST
def acknowledge_warning(request: HttpRequest) -> HttpResponse:
    """Of an operator: it is not shown any more."""
    assert isinstance(request.user, User)
    number = request.POST.get("sanction", "")
    if number.isdecimal() and len(number) < 19:
        sanctions.acknowledge(user=request.user, sanction_id=int(number))
    return redirect(safe_path(request, request.POST.get("next", "")))


@require_http_methods(["GET", "POST"])
def log_out(request: HttpRequest) -> HttpResponse:
    if not isinstance(request.user, User):
        return redirect(settings.LOGOUT_REDIRECT_URL)
    if request.method == "GET":
        return render(request, "accounts/log_out.html", {"page_data": page_data(request)})
    user = request.user
    logout(request)
    sessions.tell_changed(user)
    response = redirect(settings.LOGOUT_REDIRECT_URL)
    if "remove_everything" in request.POST:
        response.headers["Clear-Site-Data"] = '"storage"'
    return response


def _asked(request: HttpRequest) -> frozenset[str]:
    return frozenset(f"{key}={value}" for key, value in request.GET.items())


def _form_page(request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    """For who is logged out. Who is logged in goes on, unless only another account may go there."""
    if isinstance(request.user, User) and request.method == "GET" and may_go_to(request, request.user):
        return redirect(next_of(request))
    return _answer(request, template, page_data(request), **context)


def _answer(request: HttpRequest, template: str, data: dict[str, Any], **context: Any) -> HttpResponse:
    """A plain form gets the page again with the reason; what was typed is neither read nor shown."""
    if request.method == "POST":
        context = {**context, "plain_form_refused": PLAIN_FORM_REFUSED}
    return render(
        request, template, {"page_data": data, **context}, status=400 if request.method == "POST" else 200
    )
