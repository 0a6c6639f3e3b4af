"""Where somebody is logged in: what they are shown of it, and how a session ends.

An ended session is gone from the database at once; open sockets look again when ``SessionsChanged`` is rung.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from uuid import UUID

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.errors import BrowserBound, SessionNotFound, UnknownDevice
from accounts.models import BrowserSession, User
from accounts.models.browser_session import Details
from accounts.models.user import new_session_stamp
from accounts.services import key_chain
from securechat import events


@dataclass(frozen=True)
class ShownSession:
    """``device`` is ``None`` unless the session is bound to one that stands."""

    id: UUID
    device: bytes | None
    name: str
    address: str
    signed_in_at: datetime
    seen_at: datetime
    is_this: bool


@transaction.atomic
def begin(*, user: User, session_key: str, details: Details) -> None:
    """A log-in in that session, which is stored. What was known of an earlier one in it counts no more."""
    BrowserSession.objects.filter(session_id=session_key).delete()
    _write_down(user, session_key, details)


def see(*, user: User, session_key: str, details: Details) -> None:
    """Somebody uses that session. Notes it from time to time, and makes the row of a log-in that made none."""
    row = BrowserSession.objects.filter(session_id=session_key).only("seen_at").first()
    if row is not None:
        if row.seen_at < _long_ago():
            note_seen([session_key])
        return
    try:
        with transaction.atomic():
            _write_down(user, session_key, details)
    except IntegrityError:
        return  # Two first requests at once, or the session ended meanwhile.


def seen_lately(session_key: str) -> tuple[User, str] | None:
    """Who logged in in that session, and its data; ``None`` where it is over, they may not, or ``see`` has something to do.

    One plain statement, as for everything that a socket asks when it opens.
    """
    time = connection.ops.adapt_datetimefield_value
    people = User.objects.raw(_SEEN_LATELY, [session_key, time(timezone.now()), time(_long_ago())])
    return next(((person, vars(person)["session_data"]) for person in people), None)


_SEEN_LATELY = (
    f"SELECT u.*, s.session_data FROM {BrowserSession._meta.db_table} b "  # noqa: S608 - names of ours
    f"JOIN {Session._meta.db_table} s ON s.session_key = b.session_id JOIN {User._meta.db_table} u ON u.id = b.user_id "
    "WHERE b.session_id = %s AND s.expire_date > %s AND b.seen_at >= %s AND u.is_active"
)


def note_seen(session_keys: Collection[str]) -> None:
    """Coarsely: who looks often changes nothing."""
    unseen = BrowserSession.objects.filter(session_id__in=session_keys, seen_at__lt=_long_ago())
    if keys := list(unseen.values_list("pk", flat=True)):
        BrowserSession.objects.filter(pk__in=keys).update(seen_at=timezone.now())


def sessions_of(user: User, *, here: str | None) -> list[ShownSession]:
    """Those that have not expired: this one first, then the last seen."""
    standing = key_chain.device_ids(user)
    rows = _rows_of(user).filter(session__expire_date__gt=timezone.now()).order_by("-seen_at", "pk")
    shown = [_shown(row, standing, is_this=row.session_id == here) for row in rows]
    return sorted(shown, key=lambda session: not session.is_this)


@transaction.atomic
def bind(*, user: User, session_key: str, device: bytes) -> None:
    """Says whose session that is. Repeating it changes nothing.

    Raises ``UnknownDevice`` for one that does not stand, and ``BrowserBound`` for a session of another one that does: with
    the session alone nobody slips out of the browser that is going to be revoked.
    """
    row = _rows_of(user).select_for_update().filter(session_id=session_key).first()
    standing = key_chain.device_ids(user)
    if row is None or device not in standing:
        raise UnknownDevice
    if row.details.device in standing - {device}:
        raise BrowserBound
    _bind(row, device)


@transaction.atomic
def bind_new(*, user: User, session_key: str, device: bytes | None) -> None:
    """The device was added in this session, which the identity signed. ``None`` changes nothing."""
    if device is None:
        return
    row = _rows_of(user).select_for_update().filter(session_id=session_key).first()
    if row is not None:
        _bind(row, device)


@transaction.atomic
def end(*, user: User, session: UUID) -> None:
    """Raises ``SessionNotFound``."""
    row = _rows_of(user).filter(pk=session).first()
    if row is None:
        raise SessionNotFound
    _end(user, [row])


def end_all(user: User) -> None:
    """Also those that have no row yet. The caller's transaction has locked the person."""
    user.session_stamp = new_session_stamp()
    user.save(update_fields=["session_stamp"])
    _end(user, _rows_of(user))


def end_of_devices(user: User, devices: Collection[bytes], *, but: str) -> None:
    """The sessions that are bound to one of them."""
    rows = _rows_of(user).exclude(session_id=but)
    _end(user, [row for row in rows if row.details.device in devices])


def end_at_renewal(user: User, ended: Collection[bytes], *, but: str) -> None:
    """The sessions of browsers that ended, and all others that say they are this one: saying so proves no key.

    Where no other browser stands, no other session does. The caller's transaction has locked the person.
    """
    rows = list(_rows_of(user))
    own = next((row.details.device for row in rows if row.session_id == but), None)
    others = [row for row in rows if row.session_id != but]
    standing = key_chain.device_ids(user)
    if standing <= {own} or (own is None and len(standing) == 1):
        _end(user, others)
    else:
        gone = set(ended) if own is None else {*ended, own}
        _end(user, [row for row in others if row.details.device in gone])


def tell_changed(user: User) -> None:
    transaction.on_commit(partial(events.publish, events.SessionsChanged(user.pk)))


def _long_ago() -> datetime:
    return timezone.now() - settings.SESSION_SEEN_EVERY


def _write_down(user: User, session_key: str, details: Details) -> None:
    row = BrowserSession(user=user, session_id=session_key)
    row.details = details
    row.save(force_insert=True)


def _rows_of(user: User) -> QuerySet[BrowserSession]:
    return BrowserSession.objects.filter(user=user)


def _end(user: User, rows: Collection[BrowserSession] | QuerySet[BrowserSession]) -> None:
    Session.objects.filter(pk__in=[row.session_id for row in rows]).delete()
    tell_changed(user)


def _bind(row: BrowserSession, device: bytes) -> None:
    if row.details.device != device:
        row.details = replace(row.details, device=device)
        row.save(update_fields=["sealed_details"])


def _shown(row: BrowserSession, standing: frozenset[bytes], *, is_this: bool) -> ShownSession:
    details = row.details
    device = details.device if details.device in standing else None
    return ShownSession(row.pk, device, details.name, details.address, row.signed_in_at, row.seen_at, is_this)
