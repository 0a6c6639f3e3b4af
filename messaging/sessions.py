"""Whether the sessions that opened sockets still stand: a socket would otherwise outlive its own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from accounts.models import Sanction, User
from accounts.models.browser_session import Details
from accounts.services import sessions as account_sessions
from accounts.services.sanctions import mutes_of


@dataclass(frozen=True)
class SignIn:
    user_id: int
    session_key: str


def enter(session_key: str, details: Details) -> User | None:
    """``person_of``, and a sign that the session is in use; in one query where the log-in was written down lately."""
    if (found := account_sessions.seen_lately(session_key)) is not None:
        user, data = found
        return user if _is_of(Session(session_data=data).get_decoded(), user) else None
    person = person_of(session_key)
    if person is not None:
        account_sessions.see(user=person, session_key=session_key, details=details)
    return person


def person_of(session_key: str) -> User | None:
    """Whose session that is; None unless it stands. The same rule as for sockets that are open already."""
    session = _standing([session_key]).get(session_key)
    if session is None:
        return None
    person = User.objects.filter(pk=_user_id(session), is_active=True).first()
    return person if person is not None and _is_of(session, person) else None


def look(sign_ins: Collection[SignIn]) -> tuple[frozenset[SignIn], dict[int, Sanction]]:
    """Which of them stand, and who of these people is muted: what sockets ask from time to time, in three queries."""
    return standing_among(sign_ins), mutes_of({sign_in.user_id for sign_in in sign_ins})


def standing_among(sign_ins: Collection[SignIn]) -> frozenset[SignIn]:
    """Those whose session is there, has not expired and is still that person's, in two queries."""
    data = _standing({sign_in.session_key for sign_in in sign_ins})
    people = User.objects.filter(is_active=True).in_bulk({sign_in.user_id for sign_in in sign_ins})
    return frozenset(
        sign_in
        for sign_in in sign_ins
        if sign_in.session_key in data
        and sign_in.user_id in people
        and _is_of(data[sign_in.session_key], people[sign_in.user_id])
    )


def _standing(session_keys: Collection[str]) -> dict[str, dict[str, Any]]:
    store: Any = import_module(settings.SESSION_ENGINE).SessionStore
    sessions = store.get_model_class().objects.filter(
        session_key__in=session_keys, expire_date__gt=timezone.now()
    )
    return {session.session_key: session.get_decoded() for session in sessions}


def _user_id(session: dict[str, Any]) -> int:
    """0, which is nobody, where nobody signed in."""
    text = str(session.get(SESSION_KEY, ""))
    return int(text) if text.isdecimal() else 0


def _is_of(session: dict[str, Any], user: User) -> bool:
    return (
        session.get(SESSION_KEY) == str(user.pk)
        and session.get(BACKEND_SESSION_KEY) in settings.AUTHENTICATION_BACKENDS
        and constant_time_compare(session.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash())
    )
