"""What the account pages' scripts are told, through ``json_script``."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

from accounts.destinations import next_of
from accounts.errors import UsernameTaken, WrongCredentials, WrongRecoveryCode
from accounts.models import User
from accounts.validators import password_rules, username_rules

PLAIN_FORM_REFUSED = (
    "Nothing was sent on: this page needs JavaScript, because your password must not leave your browser. "
    "Allow JavaScript for this site, reload the page and try again."
)
_PAGES = {
    "start": "start",
    "log_in": "log-in",
    "sign_up": "sign-up",
    "log_out": "log-out",
    "recover": "recover",
    "settings": "settings",
    "browsers": "browsers",
    "friend_add": "friend-add",
}
_REQUESTS = (
    "log-in-parameters",
    "sign-up",
    "log-in",
    "keys",
    "keys-renew",
    "keys-reset",
    "key-chain",
    "browsers",
    "browsers-end",
    "vault",
    "password",
    "recovery-begin",
    "recovery-finish",
    "recovery-code",
    "recovery-code-confirm",
)


def page_data(request: HttpRequest, *, next_path: str | None = None) -> dict[str, Any]:
    return {
        "origin": settings.PUBLIC_ORIGIN,
        "next": next_path or next_of(request),
        "username": request.user.username if isinstance(request.user, User) else None,
        "rules": {"username": username_rules(), "password": password_rules()},
        "worker_url": static("securechat/argon2-worker.js"),
        "messages": _messages(),
        "urls": _urls(),
    }


def _messages() -> dict[str, str]:
    return {
        "username_required": "Enter a username.",
        "username_taken": UsernameTaken.message,
        "password_required": "Enter a password.",
        "wrong_credentials": WrongCredentials.message,
        "wrong_recovery": WrongRecoveryCode.message,
        "plain_password": PLAIN_FORM_REFUSED,
    }


def _urls() -> dict[str, Any]:
    pages = {key: reverse(name) for key, name in _PAGES.items()}
    requests = {name.replace("-", "_"): reverse(f"api-{name}") for name in _REQUESTS}
    return {**pages, "api": requests}
