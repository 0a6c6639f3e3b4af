"""The first page of the admin, what feeds it, and signs that an account is attacked or abuses others."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.front_page import Plot
from accounts.models import DailySignal, Sanction, User
from accounts.services import abuse_signals, sanctions
from accounts.services.abuse_signals import signals_of
from messaging.models import Report
from messaging.services import reports
from securechat import certificates, logs, metrics, pulse
from securechat.pulse import DailyCount, Pulse, ServerProcess
from tests import factories
from tests.accounts.browser import Browser, signed_in
from tests.messaging.conftest import Person

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _own_certificates(settings: Settings, tmp_path: Any) -> None:
    settings.CERTS_DIR = str(tmp_path / "certs")
    certificates.init()


@pytest.fixture(autouse=True)
def _nothing_noted() -> None:
    abuse_signals._wrong_passwords.clear()
    abuse_signals._too_fast.clear()


def operator(role: str) -> Client:
    user = factories.make_user_without_keys("Opera1")
    User.objects.filter(pk=user.pk).update(is_staff=True)
    user.refresh_from_db()
    user.groups.add(Group.objects.get(name=role))
    return factories.client_of(user)


def root() -> Client:
    return factories.client_of(User.objects.create_superuser("Root01", factories.PASSWORD))


def front_page(client: Client) -> str:
    response = client.get("/admin/")
    assert response.status_code == 200
    return response.content.decode()


def lines_of(text: str) -> dict[str, str]:
    """Of all panels: what stands beside each word."""
    found = re.findall(r"<dt>(.*?)</dt>\s*<dd>(?:<a [^>]*>)?(.*?)(?:</a>)?</dd>", text, re.DOTALL)
    return dict(found)


@pytest.mark.django_db(transaction=False)  # The roles are there from the migrations.
def test_each_role_is_shown_its_panels_and_no_other() -> None:
    def titles(role: str) -> set[str]:
        User.objects.filter(username="Opera1").delete()
        return set(re.findall(r'<h2 id="panel-\d+">(.*?)</h2>', front_page(operator(role))))

    everybody = {"Now", "Server"}
    lists = {"Sign-ups by day", "Refusals by day"}
    assert titles("Moderator") == everybody | lists | {"Reports", "Sanctions that end within a week"}
    assert titles("Operator") == everybody | lists
    assert titles("Auditor") >= everybody


@pytest.mark.django_db(transaction=False)
def test_staff_without_a_role_is_shown_nothing_and_an_operator_no_reports(a_user: User) -> None:
    staff = factories.make_user_without_keys("Staff1")
    User.objects.filter(pk=staff.pk).update(is_staff=True)
    staff.refresh_from_db()
    assert 'class="front-panel"' not in front_page(factories.client_of(staff))

    page = operator("Operator").get(f"/admin/accounts/user/{a_user.pk}/change/").content.decode()
    assert "wrong passwords for this name" in page
    assert "Reported by" not in page


@pytest.fixture
def a_user(db: None) -> User:
    return factories.make_user("Alice1")


def test_an_empty_site_says_so_in_words() -> None:
    text = front_page(root())

    assert "None waits." in text
    assert "None does." in text
    assert "0 refusals in 30 days" in text


def test_what_waits_is_counted_and_linked(a: Person, b: Person, conversation: UUID) -> None:
    for person in (a, b):
        reports.make_report(
            by=person.user, conversation=conversation, category=Report.Category.SPAM, note="", disclosed=()
        )
    Report.objects.filter(reported=b.user).update(made_at=timezone.now() - timedelta(days=3))
    sanctions.impose(
        user=a.user,
        kind=Sanction.Kind.MUTE,
        reason="Insults.",
        by=None,
        source="test",
        ends_at=timezone.now() + timedelta(hours=5),
    )
    text = front_page(root())
    lines = lines_of(text)

    assert (lines["wait"], lines["nobody has claimed"], lines["are overdue"]) == ("2", "2", "1")
    assert lines["age of the oldest"] == "3 days"
    assert lines["Mute of Alice1"].startswith(f"{timezone.now() + timedelta(hours=5):%Y-%m-%d}")
    assert "/admin/messaging/report/?queue=overdue" in text


async def test_what_goes_on_comes_from_processes_and_redis(a: Person, b: Person) -> None:
    from asgiref.sync import sync_to_async

    beating = await sync_to_async(Pulse)()
    async with a.socket(), a.socket(), b.socket():
        await sync_to_async(beating.beat)()
        lines = lines_of(await sync_to_async(lambda: front_page(root()))())
    await sync_to_async(beating.end)()

    assert lines["people online"] == "2"
    assert int(lines["open chats (sockets)"]) >= 3
    assert lines["processes of the server"] == "1"
    assert await ServerProcess.objects.acount() == 0


def test_without_redis_who_is_online_is_unknown_and_not_nobody(settings: Settings) -> None:
    settings.EFFECTIVE_REDIS_URL = "redis://127.0.0.1:9/0"

    text = front_page(root())

    assert lines_of(text)["people online"] == "unknown, as Redis does not answer"
    assert "It does not answer. Messages go on" in text


def test_the_page_takes_a_fixed_number_of_questions(django_assert_max_num_queries: Any) -> None:
    client = root()
    for number in range(20):
        factories.make_user_without_keys(f"Person{number}")
    with django_assert_max_num_queries(25):
        front_page(client)


def test_a_plot_has_a_bar_for_each_day_with_something_and_says_it_in_words() -> None:
    today = timezone.now().date()

    plot = Plot.of_days(
        {today: 10, today - timedelta(days=29): 1, today - timedelta(days=40): 99}, "visits", today
    )

    assert [bar.count for bar in plot.bars if bar.count] == [1, 10]
    assert (plot.bars[-1].height, plot.bars[-1].y) == (60, 0)
    assert all(bar.x + bar.width <= plot.width for bar in plot.bars)
    assert plot.summary == "11 visits in 30 days, at most 10 in one; today 10."


# What feeds it


def test_refusals_are_added_to_their_day_once() -> None:
    beating = Pulse()
    for _ in range(3):
        logs.refused("test", "of_this_test")
    beating.beat()
    beating.beat()
    logs.refused("test", "of_this_test")
    beating.beat()

    assert DailyCount.objects.get(what="refused:of_this_test").count == 4


def test_a_database_that_took_nothing_gets_it_with_the_next_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import DatabaseError

    def refuse() -> None:
        raise DatabaseError("disk full")

    beating = Pulse()
    logs.refused("test", "of_that_test")
    with monkeypatch.context() as patched:
        patched.setattr(pulse, "_with_each_beat", [refuse])
        beating.beat()
        assert not DailyCount.objects.filter(what="refused:of_that_test").exists()
    beating.beat()

    assert DailyCount.objects.get(what="refused:of_that_test").count == 1


def test_messages_of_the_minute_before_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("securechat.pulse.time.monotonic", lambda: clock[0])
    beating = Pulse()
    seen = []
    for _ in range(9):
        beating.beat()
        seen.append(ServerProcess.objects.get().messages_a_minute)
        metrics.ENVELOPES_STORED.inc(10)
        clock[0] += 10

    assert seen == [0, 10, 20, 30, 40, 50, 60, 60, 60]


def test_a_process_that_was_killed_counts_no_more(settings: Settings) -> None:
    Pulse().beat()
    assert ServerProcess.running().count() == 1

    ServerProcess.objects.update(seen_at=timezone.now() - 4 * settings.PULSE)

    assert ServerProcess.running().count() == 0


# Signals


def test_wrong_passwords_are_noted_for_names_that_somebody_has() -> None:
    alice = factories.make_user("Alice1")
    for _ in range(3):
        Browser().log_in("aLICE1", "Wr0ng#password")
    Browser().log_in("Nobody1")
    assert not DailySignal.objects.exists()  # Nothing is written on the way of the request.

    Pulse().beat()
    Pulse().beat()

    assert signals_of(alice).wrong_passwords == 3
    assert DailySignal.objects.count() == 1
    assert not abuse_signals._wrong_passwords


def test_what_could_not_be_stored_is_noted_still(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import DatabaseError

    def refuse() -> None:
        raise DatabaseError("disk full")

    alice = factories.make_user("Alice1")
    abuse_signals.note_wrong_password("Alice1")
    beating = Pulse()
    with monkeypatch.context() as patched:
        patched.setattr(pulse, "_with_each_beat", [abuse_signals.write, refuse])
        beating.beat()
    beating.beat()

    assert signals_of(alice).wrong_passwords == 1


def test_asking_too_fast_is_noted(settings: Settings) -> None:
    alice = factories.make_user("Alice1")
    browser = signed_in("Alice1")
    settings.LOG_IN_ATTEMPTS_PER_NAME = 1
    for _ in range(3):
        browser.post("/api/account/export/", {"auth_key": factories.auth_key_for("Alice1", "Wr0ng#password")})

    Pulse().beat()

    assert signals_of(alice).too_fast == 2


def test_the_persons_page_shows_them_and_nothing_is_done(
    a: Person, b: Person, m: Person, conversation: UUID
) -> None:
    for _ in range(2):
        reports.make_report(
            by=b.user, conversation=conversation, category=Report.Category.SPAM, note="", disclosed=()
        )
    abuse_signals.note_wrong_password("Alice1")
    abuse_signals.note_too_fast(a.user.pk)
    Pulse().beat()
    client = root()

    text = client.get(f"/admin/accounts/user/{a.user.pk}/change/").content.decode()

    assert "wrong passwords for this name 1, refused for being too fast 1." in text
    assert "one person" in text
    assert "nobody" in client.get(f"/admin/accounts/user/{m.user.pk}/change/").content.decode()
    for value, names in (("reported", ["Alice1"]), ("wrong_passwords", ["Alice1"]), ("too_fast", ["Alice1"])):
        answer = client.get(f"/admin/accounts/user/?signals={value}")
        assert answer.status_code == 200, (answer, answer.headers)
        listed = answer.context["cl"].queryset
        assert [user.username for user in listed] == names
    assert User.objects.get(pk=a.user.pk).is_active
    assert not Sanction.objects.exists()


def test_signals_are_forgotten_after_thirty_days(a: Person) -> None:
    DailySignal.objects.create(user=a.user, day=timezone.now().date() - timedelta(days=31), wrong_passwords=5)

    Pulse().beat()

    assert not DailySignal.objects.exists()


def test_a_flood_of_names_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abuse_signals, "_MOST_WAITING", 5)
    for number in range(50):
        abuse_signals.note_wrong_password(f"Person{number}")

    assert len(abuse_signals._wrong_passwords) == 5
