from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections, transaction

from accounts.models import User
from securechat import audit
from securechat.audit import AuditEvent
from tests import audit_trail

AT_ONCE = 4
EACH = 10


def three_events(user: User) -> list[AuditEvent]:
    return [
        audit.record("report.claim", by=user, on="report:1", source="admin from 192.0.2.7"),
        audit.record(
            "user.mute", by=user, on="user:7", why="Spam.", before={"muted": None}, after={"hours": 24}
        ),
        audit.record("backup.make", by=None, source="command:backup"),
    ]


def run_sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.django_db
def test_each_event_follows_the_one_before(alice: User) -> None:
    first, second, third = three_events(alice)

    assert (first.n, first.previous) == (1, audit.GENESIS)
    assert (second.previous, third.previous) == (first.hash, second.hash)
    assert (second.by_id, second.by_name, second.before, second.after) == (
        alice.pk,
        "Alice1",
        '{"muted":null}',
        '{"hours":24}',
    )
    assert [event.n for event in audit.verified()] == [1, 2, 3]


@pytest.mark.django_db
def test_an_event_outlives_who_did_it(alice: User) -> None:
    three_events(alice)

    alice.delete()

    assert [event.by_name for event in audit.verified()] == ["Alice1", "Alice1", ""]


@pytest.mark.django_db
def test_the_model_changes_and_removes_nothing(alice: User) -> None:
    event = three_events(alice)[1]
    event.why = "Other."

    refused: list[Callable[[], Any]] = [
        event.save,
        event.delete,
        lambda: AuditEvent.objects.filter(n=2).update(why="Other."),
        AuditEvent.objects.all().delete,
        lambda: AuditEvent.objects.bulk_update([event], ["why"]),
    ]
    for act in refused:
        with pytest.raises(audit.AppendOnly), transaction.atomic():
            act()
    assert len(list(audit.verified())) == 3


@pytest.mark.django_db
def test_the_database_itself_refuses(alice: User) -> None:
    three_events(alice)
    statements = [
        "UPDATE securechat_auditevent SET why = 'Other.' WHERE n = 2",
        "DELETE FROM securechat_auditevent WHERE n = 3",
        {
            "postgresql": "TRUNCATE securechat_auditevent",
            "sqlite": "REPLACE INTO securechat_auditevent SELECT * FROM securechat_auditevent WHERE n = 3",
        }[connection.vendor],
    ]

    for statement in statements:
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            run_sql(statement)

    assert len(list(audit.verified())) == 3


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("tampering", "n", "reason"),
    [
        ("UPDATE securechat_auditevent SET why = 'Other.' WHERE n = 2", 2, "changed"),
        ("UPDATE securechat_auditevent SET by_name = 'Bobby' WHERE n = 1", 1, "changed"),
        ("DELETE FROM securechat_auditevent WHERE n = 1", 1, "missing"),
        ("DELETE FROM securechat_auditevent WHERE n = 2", 2, "missing"),
        ("UPDATE securechat_auditevent SET previous = 'x' WHERE n = 3", 3, "follow"),
    ],
)
def test_a_changed_or_removed_row_is_found(alice: User, tampering: str, n: int, reason: str) -> None:
    three_events(alice)
    with audit_trail.unguarded():
        run_sql(tampering)

    with pytest.raises(audit.BrokenChain, match=reason) as broken:
        list(audit.verified())
    assert broken.value.n == n


@pytest.mark.django_db(transaction=True)
def test_appends_at_the_same_moment_make_one_chain() -> None:
    barrier = Barrier(AT_ONCE)

    def append(number: int) -> None:
        try:
            barrier.wait(timeout=10)
            for _ in range(EACH):
                audit.record("report.claim", by=None, on=f"report:{number}")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(append, range(AT_ONCE)))

    assert len(list(audit.verified())) == AT_ONCE * EACH
