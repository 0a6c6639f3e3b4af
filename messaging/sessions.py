"""Whether the sessions that opened sockets still stand: a socket would otherwise outlive its own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from accounts.models import User


@dataclass(frozen=True)
class SignIn:
    user_id: int
    session_key: str


def standing_among(sign_ins: Collection[SignIn]) -> frozenset[SignIn]:
    """Those whose session is there, has not expired and is still that person's, in two queries."""
    store: Any = import_module(settings.SESSION_ENGINE).SessionStore
    sessions = store.get_model_class().objects.filter(
        session_key__in={sign_in.session_key for sign_in in sign_ins}, expire_date__gt=timezone.now()
    )
    data = {session.session_key: session.get_decoded() for session in sessions}
    people = User.objects.filter(is_active=True).in_bulk({sign_in.user_id for sign_in in sign_ins})
    return frozenset(
        sign_in
        for sign_in in sign_ins
        if sign_in.session_key in data
        and sign_in.user_id in people
        and _is_of(data[sign_in.session_key], people[sign_in.user_id])
    )


def _is_of(session: dict[str, Any], user: User) -> bool:
    return (
        session.get(SESSION_KEY) == str(user.pk)
        and session.get(BACKEND_SESSION_KEY) in settings.AUTHENTICATION_BACKENDS
        and constant_time_compare(session.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash())
    )
