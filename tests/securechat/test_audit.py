from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections, transaction
from django.urls import reverse

from accounts.models import User
from securechat import audit
from securechat.audit import AuditEvent
from tests import audit_trail, factories

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


@pytest.mark.django_db
def test_a_walk_that_is_broken_off_leaves_nothing_open_in_the_database(alice: User) -> None:
    three_events(alice)
    walk = audit.verified()
    next(walk)

    if connection.vendor == "postgresql":  # SQLite has no cursors of its own to leave open.
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_cursors")
            assert cursor.fetchone() == (0,)
    assert len(list(walk)) == 2


@pytest.mark.django_db(transaction=True)
def test_an_append_waits_for_one_that_is_not_committed_yet() -> None:
    """Two that read the same head would both follow it: the second has to be kept from reading it."""
    begun = Event()

    def append_second() -> None:
        try:
            begun.wait(timeout=10)
            audit.record("report.claim", by=None, on="report:2")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:
        second = threads.submit(append_second)
        with transaction.atomic():
            audit.record("report.claim", by=None, on="report:1")
            begun.set()
            wait_until_somebody_waits_for_a_lock()
        second.result(timeout=30)

    assert [event.on for event in audit.verified()] == ["report:1", "report:2"]


def wait_until_somebody_waits_for_a_lock() -> None:
    """PostgreSQL tells; SQLite's second transaction cannot even begin, whenever it tries."""
    deadline = time.monotonic() + 10
    while connection.vendor == "postgresql" and time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return


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


def verify(*arguments: str) -> str:
    out = io.StringIO()
    call_command("audit_verify", *arguments, stdout=out, stderr=out)
    return out.getvalue()


@pytest.mark.django_db
def test_the_command_says_that_a_trail_is_whole_and_what_its_head_is(alice: User) -> None:
    assert f"0 events are good.\nHead  0:{audit.GENESIS}" in verify()
    head = three_events(alice)[-1]

    assert f"3 events are good.\nHead  3:{head.hash}" in verify()
    assert json.loads(verify("--json")) == {"whole": True, "head": f"3:{head.hash}", "problem": None}


@pytest.mark.django_db
def test_the_command_names_the_first_event_that_is_wrong(alice: User) -> None:
    three_events(alice)
    with audit_trail.unguarded():
        run_sql("UPDATE securechat_auditevent SET why = 'Other.' WHERE n = 2")

    with pytest.raises(CommandError, match=r"Event 2: it was changed\.") as refusal:
        verify()
    assert refusal.value.returncode == 1


@pytest.mark.django_db
def test_a_removed_tail_is_seen_with_a_head_that_was_kept(alice: User) -> None:
    kept = f"3:{three_events(alice)[-1].hash}"
    audit.record("report.claim", by=alice, on="report:2")
    assert "4 events are good." in verify("--expect", kept)
    with audit_trail.unguarded():
        run_sql("DELETE FROM securechat_auditevent WHERE n > 2")

    assert "2 events are good." in verify()
    with pytest.raises(CommandError, match="its end was removed"):
        verify("--expect", kept)
    audit.record("report.claim", by=alice, on="report:3")
    with pytest.raises(CommandError, match="removed or replaced"):
        verify("--expect", kept)
    with pytest.raises(CommandError, match="N:HASH") as refusal:
        verify("--expect", "3")
    assert refusal.value.returncode == 2


@pytest.mark.django_db
def test_a_guard_that_is_off_is_named(alice: User) -> None:
    with audit_trail.unguarded(), pytest.raises(CommandError, match="securechat_audit_no_"):
        verify()
    verify()


@pytest.mark.django_db
def test_an_export_can_be_checked_without_the_server(alice: User, tmp_path: Path) -> None:
    three_events(alice)
    file = tmp_path / "trail.jsonl"

    verify("--export", str(file))

    previous = "0" * 64
    for line in file.read_text().splitlines():
        event = json.loads(line)
        digest = event.pop("hash")
        text = json.dumps(event, sort_keys=True, separators=(",", ":"))
        assert hashlib.sha256(text.encode()).hexdigest() == digest
        assert event["previous"] == previous
        previous = digest
    assert event["n"] == 3
    with pytest.raises(CommandError, match="exists"):
        verify("--export", str(file))
    assert json.loads(verify("--export", "-").splitlines()[1])["action"] == "user.mute"


@pytest.mark.django_db
def test_the_trail_and_djangos_log_are_read_only_in_the_admin(alice: User) -> None:
    event = three_events(alice)[1]
    root = User.objects.create_superuser("Root01", factories.PASSWORD)
    entry = LogEntry.objects.log_actions(
        root.pk, [alice], CHANGE, change_message="Muted.", single_object=True
    )
    client = factories.client_of(root)

    for name, row in (("securechat_auditevent", event), ("admin_logentry", entry)):
        assert client.get(reverse(f"admin:{name}_changelist")).status_code == 200
        assert client.get(reverse(f"admin:{name}_add")).status_code == 403
        assert client.get(reverse(f"admin:{name}_delete", args=[row.pk])).status_code == 403
        change = reverse(f"admin:{name}_change", args=[row.pk])
        assert client.get(change).status_code == 200
        assert client.post(change, {}).status_code == 403
    shown = client.get(reverse("admin:securechat_auditevent_change", args=[2])).content.decode()
    assert "hours: 24" in shown
    assert "Spam." in shown
    listed = client.get(reverse("admin:securechat_auditevent_changelist"), {"q": "user.mut"})
    assert [row.n for row in listed.context["cl"].result_list] == [2]
    assert "a shell" in client.get(reverse("admin:securechat_auditevent_changelist")).content.decode()
