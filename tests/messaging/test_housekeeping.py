"""`prune`, `expire_sessions`, `presence` and `stats`."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from accounts.models import BrowserSession, User
from accounts.services.deletion import delete_account
from friends import services
from friends.models import Friendship
from messaging.connection import CloseCode
from messaging.models import Envelope, Report
from messaging.services import reports, retention
from securechat.audit import AuditEvent
from tests import factories
from tests.messaging.conftest import Person, befriend, make_person
from tests.messaging.test_reading import fill

pytestmark = pytest.mark.django_db(transaction=True)
LONG_AGO = timedelta(days=400)


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def pruned(*more: str) -> dict[str, int]:
    said: dict[str, Any] = json.loads(run("prune", "--json", *more))
    return {what: count for what, count in said["rows"].items() if count}


def a_closed_report(by: Person, conversation: UUID, *, ago: timedelta) -> Report:
    report = reports.make_report(
        by=by.user, conversation=conversation, category=Report.Category.SPAM, note="", disclosed=()
    )
    moderator = factories.make_user_without_keys(f"Moder{report.pk}")
    report.dismiss(moderator, timezone.now() - ago)
    report.save()
    return report


def test_only_what_outlived_its_time_goes(a: Person, b: Person, m: Person, conversation: UUID) -> None:
    old = a_closed_report(a, conversation, ago=LONG_AGO)
    young = a_closed_report(a, conversation, ago=timedelta(days=1))
    services.request_friendship(sender=m.user, username="Alice1")
    asked = Friendship.objects.between(m.user, a.user).get()
    services.reject_requests(rejected_by=a.user, public_ids=[asked.public_id])
    Friendship.objects.filter(pk=asked.pk).update(answered_at=timezone.now() - LONG_AGO)
    Session.objects.filter(browser__user=m.user).update(expire_date=timezone.now() - timedelta(minutes=1))

    expected = {
        "sessions that are over": 1,
        "reports that were closed long ago": 1,
        "requests that were refused long ago": 1,
    }
    assert pruned("--dry-run") == expected
    assert Report.objects.filter(pk=old.pk).exists()
    assert pruned() == expected

    assert list(Report.objects.all()) == [young]
    assert list(Friendship.objects.values_list("public_id", flat=True)) == [conversation]
    assert BrowserSession.objects.count() == 2
    assert pruned() == {}


async def test_messages_stay_also_those_of_one_deleted_person(
    a: Person, b: Person, conversation: UUID
) -> None:
    async with a.socket() as alice:
        await fill(alice, a.tab(conversation), 3)
    await sync_to_async(delete_account)(user=b.user, by=None, source="test")

    assert await sync_to_async(pruned)() == {}
    assert await Envelope.objects.acount() == 3


def test_what_nobody_has_any_more_goes(a: Person, b: Person, conversation: UUID) -> None:
    """Left by a deletion of an older version, which did not look at the other side."""
    User.objects.filter(pk__in=[a.user.pk, b.user.pk]).update(
        deleted_at=timezone.now() - LONG_AGO, is_active=False
    )

    assert pruned() == {"conversations of two deleted people": 1, "names of deleted people": 2}
    assert not Friendship.objects.exists()
    assert not User.objects.exists()


def test_all_that_nobody_has_is_counted_and_found_behind_what_is_kept(
    a: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than a batch, and after rows of deleted people whose friends are there."""
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    for number in range(7):
        befriend(make_person(f"Kept{number}"), a)  # Found under the deleted person who asked.
        befriend(a, make_person(f"Asked{number}"))  # And under the friend who was asked.
    for number in range(5):
        befriend(make_person(f"Gone{number}"), make_person(f"Lost{number}"))
    long_ago = timezone.now() - LONG_AGO
    Session.objects.all().delete()
    User.objects.exclude(pk=a.user.pk).update(deleted_at=long_ago, is_active=False)
    expected = {"conversations of two deleted people": 5, "names of deleted people": 10}

    assert pruned("--dry-run") == {"conversations of two deleted people": 5}
    assert pruned() == expected
    assert Friendship.objects.count() == 14
    assert User.objects.count() == 15
    assert pruned() == {}


def test_a_refused_request_that_is_asked_again_during_a_run_stays(a: Person, m: Person) -> None:
    services.request_friendship(sender=m.user, username="Alice1")
    asked = Friendship.objects.between(m.user, a.user).get()
    services.reject_requests(rejected_by=a.user, public_ids=[asked.public_id])
    Friendship.objects.filter(pk=asked.pk).update(answered_at=timezone.now() - LONG_AGO)
    (kind,) = (one for one in retention.outlived() if one.what == "requests that were refused long ago")

    def meanwhile(rows: list[Friendship]) -> list[Friendship]:
        services.request_friendship(sender=m.user, username="Alice1")
        return rows

    retention.prune(replace(kind, choose=meanwhile), timezone.now())

    assert Friendship.objects.received_by(a.user).count() == 1


def test_a_run_that_was_stopped_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    for number in range(5):
        Session.objects.create(
            session_key=f"s{number}", session_data="", expire_date=timezone.now() - LONG_AGO
        )

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    (kind,) = (one for one in retention.outlived() if one.what == "sessions that are over")
    with pytest.raises(KeyboardInterrupt):
        retention.prune(kind, timezone.now(), stop)
    assert Session.objects.count() == 3

    assert retention.prune(kind, timezone.now()) == 3


def test_it_is_in_the_trail_with_its_counts() -> None:
    run("prune")

    event = AuditEvent.objects.order_by("n").last()
    assert event is not None
    assert (event.action, json.loads(event.after)["reports that were closed long ago"]) == ("prune.run", 0)


# Sessions


async def test_sessions_that_lay_idle_end_and_their_sockets_close(a: Person, b: Person) -> None:
    async with a.socket() as alice:
        long_ago = timezone.now() - timedelta(days=9)
        await BrowserSession.objects.filter(user=a.user).aupdate(seen_at=long_ago)
        command = ("expire_sessions", "--idle-days", "7")
        assert await sync_to_async(run)(*command, "--dry-run") == "1 session would be ended.\n"
        assert await sync_to_async(run)(*command) == "1 session ended.\n"

        assert await alice.closed_with() == CloseCode.SIGNED_OUT
    assert await BrowserSession.objects.aget() == await BrowserSession.objects.aget(user=b.user)


async def test_all_sessions_of_one_person_end(a: Person, b: Person) -> None:
    async with a.socket() as alice:
        await sync_to_async(run)("expire_sessions", "--user", "alice1", "--reason", "Stolen.")

        assert await alice.closed_with() == CloseCode.SIGNED_OUT
    assert await BrowserSession.objects.acount() == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(("--idle-days", "0"), "1 or more"), (("--user", "Nobody1"), "nobody of that name")],
)
def test_expire_sessions_refuses(arguments: tuple[str, ...], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        run("expire_sessions", *arguments)


# Presence


async def test_who_is_online_is_counted_and_named(a: Person, b: Person) -> None:
    async with a.socket(), a.socket(), b.socket():
        said = await sync_to_async(run)("presence", "--list")
        as_json = json.loads(await sync_to_async(run)("presence", "--json"))
        alice = await sync_to_async(run)("presence", "--user", "alice1")

    assert said == "2 people online, on 3 sockets.\n  Alice1\n  Bobby\n"
    assert as_json == {"people": 2, "sockets": 3}
    assert alice == "Alice1 is online.\n"


@pytest.mark.parametrize("more", [(), ("--user", "Alice1")])
def test_without_redis_it_is_unknown_and_not_nobody(
    a: Person, settings: Settings, more: tuple[str, ...]
) -> None:
    settings.EFFECTIVE_REDIS_URL = "redis://127.0.0.1:9/0"

    with pytest.raises(SystemExit) as ended:
        run("presence", *more)

    assert ended.value.code == 3


# Numbers


async def test_stats_count_without_walking_messages(a: Person, b: Person, conversation: UUID) -> None:
    async with a.socket() as alice:
        await fill(alice, a.tab(conversation), 3)
        found = json.loads(await sync_to_async(run)("stats", "--json"))

    assert found["people"]["accounts"] == 2
    assert found["online"] == {"people": 1, "sockets": 1}
    assert found["friendships"]["friends"] == 1
    assert found["conversations"]["messages"] == 3
    assert found["storage"]["bytes_of_the_database"] > 100_000


def test_stats_say_unknown_without_redis(settings: Settings) -> None:
    settings.EFFECTIVE_REDIS_URL = "redis://127.0.0.1:9/0"

    assert "unknown  sockets" in run("stats")


def test_stats_take_a_fixed_number_of_questions(
    a: Person, b: Person, django_assert_max_num_queries: Any
) -> None:
    befriend(a, b)
    with django_assert_max_num_queries(24):
        run("stats")
