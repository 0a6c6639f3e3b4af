"""Everything that the server holds about a person, as one JSON document for them, written row by row.

``{"format": "securechat-export/1", "origin": …, "name": …, "exported_at": …, "<section>": [rows]}``. Bytes are base64url. What is
sealed by the person's browsers is in it as it is stored: only their password or recovery code opens it.

Apps above this one hold more of a person, and register it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from typing import Any, TypeAlias
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from accounts.models import BrowserSession, DailySignal, Door, RecoveryCode, Sanction, User, Vault
from accounts.services import key_chain, second_factor
from accounts.wire import encode_base64url
from securechat.audit import AuditEvent

FORMAT = "securechat-export/1"
Rows: TypeAlias = Callable[[User], Iterable[Mapping[str, Any]]]

_sections: dict[str, Rows] = {}


def register(section: str, rows: Rows) -> None:
    _sections[section] = rows


def sections() -> Mapping[str, Rows]:
    return {
        "account": _account,
        "sessions": _sessions,
        "key_chain": _key_chain,
        "vault": _vault,
        "doors": _doors,
        "recovery_code": _recovery_code,
        "sanctions": _sanctions,
        "signals": _signals,
        "audit_trail": _audit_trail,
        **_sections,
    }


def export(user: User, now: datetime | None = None) -> Iterator[str]:
    """The document in pieces of a row each."""
    head = {
        "format": FORMAT,
        "origin": settings.PUBLIC_ORIGIN,
        "name": user.username,
        "exported_at": now or timezone.now(),
    }
    yield json.dumps(head, default=_plain)[:-1]
    for name, rows_of in sections().items():
        yield f',\n"{name}": ['
        separator = "\n"
        for row in rows_of(user):
            yield separator + json.dumps(row, default=_plain)
            separator = ",\n"
        yield "]"
    yield "}\n"


def _plain(value: Any) -> Any:
    if isinstance(value, date):  # Of which a moment is one.
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes | memoryview):
        return encode_base64url(bytes(value))
    raise TypeError(type(value).__name__)


def _account(user: User) -> Iterable[Mapping[str, Any]]:
    yield {
        "number": user.pk,
        "username": user.username,
        "date_joined": user.date_joined,
        "last_login": user.last_login,
        "is_active": user.is_active,
        "is_staff": user.is_staff,
        "is_superuser": user.is_superuser,
        "roles": list(user.groups.order_by("name").values_list("name", flat=True)),
        "has_second_factor": second_factor.is_enrolled(user),
        "client_salt": user.client_salt,
    }


def _sessions(user: User) -> Iterable[Mapping[str, Any]]:
    for row in BrowserSession.objects.filter(user=user).order_by("signed_in_at"):
        details = row.details
        yield {
            "name": details.name,
            "address": details.address,
            "device": details.device,
            "signed_in_at": row.signed_in_at,
            "seen_at": row.seen_at,
        }


def _key_chain(user: User) -> Iterable[Mapping[str, Any]]:
    return ({"entry": entry} for entry in key_chain.entries_of(user))


def _vault(user: User) -> Iterable[Mapping[str, Any]]:
    return ({"version": row.version, "box": row.box} for row in Vault.objects.filter(user=user))


def _doors(user: User) -> Iterable[Mapping[str, Any]]:
    return (
        {"kind": row.kind, "content": row.content} for row in Door.objects.filter(user=user).order_by("kind")
    )


def _recovery_code(user: User) -> Iterable[Mapping[str, Any]]:
    rows = RecoveryCode.objects.filter(user=user)
    return ({"made_at": row.made_at, "confirmed": row.confirmed} for row in rows)


def _sanctions(user: User) -> Iterable[Mapping[str, Any]]:
    for row in Sanction.objects.filter(user=user).order_by("pk"):
        yield {
            "kind": row.kind,
            "reason": row.reason,
            "starts_at": row.starts_at,
            "ends_at": row.ends_at,
            "lifted_at": row.lifted_at,
        }


def _signals(user: User) -> Iterable[Mapping[str, Any]]:
    rows = DailySignal.objects.filter(user=user).order_by("day")
    return (
        {"day": row.day, "wrong_passwords": row.wrong_passwords, "too_fast": row.too_fast} for row in rows
    )


def _audit_trail(user: User) -> Iterable[Mapping[str, Any]]:
    """What operators did to the account; not who they are."""
    done = AuditEvent.objects.filter(on=f"user:{user.pk}").order_by("n")
    return ({"at": event.at, "action": event.action, "why": event.why} for event in done)
