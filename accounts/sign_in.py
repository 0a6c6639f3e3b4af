"""The session of a request: beginning it, keeping it while the others end, and what the server sees of its browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.contrib.auth import login, update_session_auth_hash
from django.http import HttpRequest, HttpResponse

from accounts.models import BrowserSession, User
from accounts.models.browser_session import Details
from accounts.services import operators, sanctions, sessions
from accounts.user_agent import describe


def sign_in(request: HttpRequest, user: User, *, device: bytes | None = None) -> None:
    """Unbound, also where this person was logged in before; ``device`` is the one that was added just now.

    Raises ``ShutOut``.
    """
    sanctions.require_let_in(user)
    login(request, user)
    request.session.save()
    operators.note_log_in(user, source=str(request.META.get("REMOTE_ADDR", "")))
    sessions.begin(user=user, session_key=session_key_of(request), details=_details_of(request, device))


@contextmanager
def staying_signed_in(request: HttpRequest, user: User) -> Iterator[None]:
    """Around what ends all sessions of this person, inside its transaction: this one goes on under another key."""
    row = BrowserSession.objects.filter(session_id=session_key_of(request)).first()
    yield
    update_session_auth_hash(request, user)
    request.session.save()
    if row is not None:
        row.session_id = session_key_of(request)
        row.save(force_insert=True)


def session_key_of(request: HttpRequest) -> str:
    """Of who is logged in."""
    key = request.session.session_key
    assert key is not None
    return key


class SeenSessionMiddleware:
    """Every request of somebody who is logged in shows that their session is in use."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.SESSION_COOKIE_NAME in request.COOKIES and isinstance(request.user, User):
            sessions.see(user=request.user, session_key=session_key_of(request), details=_details_of(request))
        return self._get_response(request)


def _details_of(request: HttpRequest, device: bytes | None = None) -> Details:
    return Details(describe(request.headers), str(request.META.get("REMOTE_ADDR", "")), device)
