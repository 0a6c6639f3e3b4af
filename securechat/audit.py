"""The audit trail: what operators and commands changed and looked at, appended only, each event chained to the one before.

    with transaction.atomic():
        report.dismiss()
        audit.record("report.dismiss", by=operator, on="report:3", why="Not abuse.", source=audit.source_of(request))

Who can write to the whole database can also write a new chain. So whoever wants to be sure keeps the head
(``manage.py audit_verify`` prints it) where that operator cannot write, and compares.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Never

from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError, connection, models, transaction
from django.utils import timezone

from securechat.batches import rows_by_key

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.http import HttpRequest

GENESIS = "0" * 64
"""What stands where the first event would name the one before."""

_LOCK = 0x5EC_A0D17  # Any number that nothing else locks with in this database.

_GUARDS = {
    "sqlite": {f"securechat_audit_no_{verb}" for verb in ("update", "delete", "replace")},
    "postgresql": {f"securechat_audit_no_{verb}" for verb in ("change", "truncate")},
}


class AppendOnly(TypeError):
    """A programmer tried to change or remove what the audit trail keeps."""


class BrokenChain(Exception):
    """From event ``n`` on, the trail is not what was appended."""

    def __init__(self, n: int, reason: str) -> None:
        super().__init__(f"Event {n}: {reason}")
        self.n = n


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def head(self) -> AuditEvent | None:
        return self.order_by("n").last()

    def update(self, **kwargs: Any) -> Never:
        raise AppendOnly("An audit event is never changed.")

    def delete(self) -> Never:
        raise AppendOnly("An audit event is never removed.")


class AuditEvent(models.Model):
    """One thing that was done. Names nobody by a foreign key: it outlives the accounts it speaks of.

    ``before`` and ``after`` are JSON with sorted keys, or empty. The database refuses changes by triggers, too.
    """

    n = models.BigIntegerField("number", primary_key=True, help_text="Counted from 1 without gaps.")
    at = models.DateTimeField("time", db_index=True)
    action = models.CharField(max_length=64, db_index=True)
    by_id = models.BigIntegerField(null=True, help_text="Empty: a command in a shell.")
    by_name = models.CharField("by", max_length=150, blank=True)
    on = models.CharField(max_length=200, blank=True, db_index=True)
    why = models.TextField(blank=True)
    source = models.CharField("from", max_length=200, blank=True)
    before = models.TextField(blank=True)
    after = models.TextField(blank=True)
    previous = models.CharField(max_length=64, unique=True, help_text="The hash of the event before.")
    hash = models.CharField(max_length=64)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        ordering = ("n",)
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.n} {self.action}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly("An audit event is never changed.")
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *args: Any, **kwargs: Any) -> Never:
        raise AppendOnly("An audit event is never removed.")

    def as_dict(self) -> dict[str, Any]:
        """What an export holds, and what the hash is of (without the hash itself)."""
        return {
            "n": self.n,
            "at": self.at.astimezone(UTC).isoformat(timespec="microseconds"),
            "action": self.action,
            "by_id": self.by_id,
            "by_name": self.by_name,
            "on": self.on,
            "why": self.why,
            "source": self.source,
            "before": self.before,
            "after": self.after,
            "previous": self.previous,
            "hash": self.hash,
        }

    def expected_hash(self) -> str:
        """SHA-256 over the sorted JSON of everything else."""
        content = {key: value for key, value in self.as_dict().items() if key != "hash"}
        return hashlib.sha256(_canonical(content).encode()).hexdigest()


@transaction.atomic
def record(
    action: str,
    *,
    by: AbstractBaseUser | None,
    on: str = "",
    why: str = "",
    source: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> AuditEvent:
    """Appends an event in the caller's transaction; call it after what it speaks of.

    ``action`` is "<noun>.<verb>", ``on`` names the object as "user:17"; ``by=None`` is a command in a shell,
    with ``source="command:<name>"``. Until the transaction ends, other appends wait: two cannot follow the same event.
    """
    # SQLite's transactions (BEGIN IMMEDIATE) exclude each other already.
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    head = AuditEvent.objects.head()
    event = AuditEvent(
        n=head.n + 1 if head else 1,
        at=now or timezone.now(),
        action=action,
        by_id=by.pk if by else None,
        by_name=by.get_username() if by else "",
        on=on,
        why=why,
        source=source[:200],
        before=_canonical(before) if before is not None else "",
        after=_canonical(after) if after is not None else "",
        previous=head.hash if head else GENESIS,
    )
    event.hash = event.expected_hash()
    event.save()
    return event


def source_of(request: HttpRequest) -> str:
    """From where an operator did it."""
    return f"admin from {request.META.get('REMOTE_ADDR', '')}"


def verified() -> Iterator[AuditEvent]:
    """Every event in order, each checked before it is given out. Raises ``BrokenChain``.

    A removed tail leaves a chain that is whole: only a head that was kept elsewhere shows it.
    """
    yield from checked(rows_by_key(AuditEvent.objects.all(), at_once=1_000))


def checked(events: Iterable[AuditEvent]) -> Iterator[AuditEvent]:
    """The same for events from elsewhere."""
    previous = GENESIS
    for n, event in enumerate(events, start=1):
        if event.n != n:
            raise BrokenChain(n, "it is missing.")
        if event.previous != previous:
            raise BrokenChain(n, "it does not follow the one before.")
        if event.hash != event.expected_hash():
            raise BrokenChain(n, "it was changed.")
        previous = event.hash
        yield event


def check_tail(events: int = 1_000) -> int:
    """The last so many, each by itself and as the follower of the one before; answers the head's number.

    Raises ``BrokenChain``.
    """
    tail = list(AuditEvent.objects.order_by("-n")[: events + 1])[::-1]
    for before, event in pairwise(tail):
        if event.n != before.n + 1:
            raise BrokenChain(before.n + 1, "it is missing.")
        if event.previous != before.hash:
            raise BrokenChain(event.n, "it does not follow the one before.")
    for event in tail:
        if event.hash != event.expected_hash():
            raise BrokenChain(event.n, "it was changed.")
    return tail[-1].n if tail else 0


def guards_that_are_off() -> list[str]:
    """Triggers that should refuse changes and do not: dropped, or switched off."""
    if connection.vendor == "postgresql":
        query = """
            SELECT tgname FROM pg_trigger
            WHERE tgrelid = 'securechat_auditevent'::regclass AND tgenabled IN ('O', 'A')
        """
    else:
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'securechat_auditevent'"
    with connection.cursor() as cursor:
        cursor.execute(query)
        on = {name for (name,) in cursor.fetchall()}
    return sorted(_GUARDS[connection.vendor] - on)


def shown_head() -> str:
    """N:HASH, for people and programs to keep."""
    head = AuditEvent.objects.head()
    return f"{head.n}:{head.hash}" if head else f"0:{GENESIS}"


def empty_for_restore() -> None:
    """Removes every event, past the guards, which are on again afterwards. In the caller's transaction, before anything else.

    Only for a restore, which puts another trail in its place and records there what was the head of this one.
    """
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE securechat_auditevent DISABLE TRIGGER USER")
            cursor.execute("TRUNCATE securechat_auditevent")
            cursor.execute("ALTER TABLE securechat_auditevent ENABLE TRIGGER USER")
            return
        cursor.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'securechat_auditevent'"
        )
        guards = cursor.fetchall()
        for name, _ in guards:
            cursor.execute(f"DROP TRIGGER {connection.ops.quote_name(name)}")
        cursor.execute("DELETE FROM securechat_auditevent")
        for _, statement in guards:
            cursor.execute(statement)


def record_if_there_is_a_trail(action: str, *, command: str, **details: Any) -> AuditEvent | None:
    """For commands that prepare a new installation, and work without a database: there nothing is recorded."""
    try:
        if AuditEvent._meta.db_table not in connection.introspection.table_names():
            return None
    except DatabaseError:
        return None
    return record(action, by=None, source=f"command:{command}", **details)


def _canonical(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), cls=DjangoJSONEncoder)
