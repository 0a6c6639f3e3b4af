"""What the page "What the server can see" says, held to the database, and to the tests that it names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection, connections
from django.test import Client
from django.urls import reverse

from accounts.models import KeyChainEntry, User
from accounts.services import invites, passwords
from friends.models import Friendship
from messaging import protocol
from messaging.hub import shut_down
from messaging.models import Report
from messaging.services.reports import Disclosed, make_report
from securechat.server_view import (
    COLUMNS_TEST,
    LESS_SEEN,
    NOTICED,
    OPERATOR_TABLES,
    SEEN,
    TABLES,
    UNSEEN,
    Shown,
)
from tests import factories
from tests.accounts.browser import Browser
from tests.messaging.conftest import Person, befriend, make_person

FACTS = [*SEEN, *UNSEEN, *LESS_SEEN, *NOTICED]
ADDRESS = "192.0.2.77"
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


def rows_of(table: str) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - our own tables' names
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def columns_of(table: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT * FROM "{table}" LIMIT 0')  # noqa: S608 - our own tables' names
        return [column[0] for column in cursor.description]


def bytes_of(value: object) -> bytes:
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()


# The page itself


@pytest.mark.django_db
def test_the_page_shows_every_fact_with_its_tests(client: Client) -> None:
    page = client.get(reverse("what-the-server-sees")).content.decode().replace("&#x27;", "'")

    for fact in FACTS:
        assert fact.title in page
        assert fact.explanation in page
        assert all(test in page for test in fact.tests)
    for table in TABLES.values():
        assert table.title in page
        assert all(f"<code>{column}</code>" in page for column in table.columns)


def test_the_foot_of_a_page_leads_there(client: Client) -> None:
    foot = client.get(reverse("trust")).content.decode().partition("<footer")[2]

    assert f'href="{reverse("what-the-server-sees")}"' in foot
    assert f'href="{reverse("about")}"' in foot


def test_every_test_that_the_page_names_is_there() -> None:
    """pytest itself has to find them, one with parameters by each name that is given of it."""
    named = sorted({test for fact in FACTS for test in fact.tests} | {COLUMNS_TEST})
    assert all(fact.tests for fact in FACTS)

    found = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *named],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == 0, found.stdout[-2000:]
    collected = {line for line in found.stdout.splitlines() if "::" in line}
    assert {name if name in named else name.partition("[")[0] for name in collected} == set(named)


def test_what_a_browser_is_said_to_notice_is_tested_in_one() -> None:
    assert all(test.startswith(("tests/attacks/", "tests/e2e/")) for fact in NOTICED for test in fact.tests)


# The database


@pytest.mark.django_db
def test_every_column_of_the_database_is_listed() -> None:
    tables = set(connection.introspection.table_names()) - {"django_migrations"}

    assert tables >= OPERATOR_TABLES
    assert tables - OPERATOR_TABLES == TABLES.keys()
    listed = {name: sorted(table.columns) for name, table in TABLES.items()}
    assert {name: sorted(columns_of(name)) for name in TABLES} == listed


def test_a_name_and_its_times_are_readable(alice: User, client_of: Any) -> None:
    client_of(alice)

    (row,) = rows_of("accounts_user")

    assert (row["username"], row["folded_name"]) == ("Alice1", "alice1")
    assert row["date_joined"]
    assert row["last_login"]


def test_of_a_friendship_only_who_asked_is_readable(alice: User, friendship: Friendship) -> None:
    (row,) = rows_of("friends_friendship")

    assert row["sender_id"] == alice.pk
    assert row["approved_at"]
    assert b"bobby" not in repr(row).lower().encode()


@pytest.mark.django_db
def test_a_log_in_shows_its_times_and_hides_address_and_browser() -> None:
    factories.make_user("Alice1")
    browser = Browser(client=Client(REMOTE_ADDR=ADDRESS, headers={"user-agent": USER_AGENT}))
    assert browser.log_in("Alice1").status_code == 200

    (row,) = rows_of("accounts_browsersession")

    assert row["signed_in_at"]
    assert row["seen_at"]
    assert ADDRESS.encode() not in b"".join(map(bytes_of, row.values()))
    assert b"Firefox" not in b"".join(map(bytes_of, row.values()))
    (shown,) = browser.get("/api/browsers/").json()["browsers"]
    assert shown["address"] == ADDRESS, "The running server has to know it, or the test shows nothing."
    assert "Firefox" in shown["name"]


@pytest.mark.django_db
def test_a_log_out_takes_address_and_browser_away() -> None:
    factories.make_user("Alice1")
    browser = Browser(client=Client(REMOTE_ADDR=ADDRESS, headers={"user-agent": USER_AGENT}))
    browser.log_in("Alice1")
    assert len(rows_of("accounts_browsersession")) == 1

    assert browser.client.post(reverse("log-out")).status_code == 302

    assert rows_of("accounts_browsersession") == []
    assert rows_of("django_session") == []


def test_a_friend_link_tells_the_server_whose_it_is(alice: User, client_of: Any) -> None:
    link = reverse("friend-link", args=["Bobby"])

    response = client_of(alice).get(link)

    assert "Bobby" in response.request["PATH_INFO"]
    assert "Bobby" in response.content.decode()


@pytest.mark.django_db
def test_a_vault_shows_its_size_and_nothing_in_it() -> None:
    identity = factories.Identity("Alice1")
    keys = identity.keys()
    passwords.sign_up(username="Alice1", auth_key=factories.auth_key_for("Alice1"), keys=keys)

    (row,) = rows_of("accounts_vault")

    stored = bytes_of(row["sealed_box"])
    assert row["version"] == 1
    assert len(keys.vault.box) <= len(stored) <= len(keys.vault.box) + 100
    assert keys.vault.box[:32] not in stored


# A conversation, as it really is stored


@pytest.fixture
def a(transactional_db: None) -> Person:
    return make_person("Alice1")


@pytest.fixture
def b(transactional_db: None) -> Person:
    return make_person("Bobby")


@pytest.fixture
def conversation(a: Person, b: Person) -> UUID:
    return befriend(a, b)


@pytest_asyncio.fixture
async def _hub_ends() -> AsyncIterator[None]:
    yield
    await shut_down()
    await sync_to_async(connections.close_all)()


@pytest.mark.usefixtures("_hub_ends")
async def test_a_message_shows_its_side_time_and_size(a: Person, conversation: UUID) -> None:
    tab = a.tab(conversation)
    async with a.socket() as socket:
        await socket.ask(tab.append(ref=1), protocol.EpochAppended)
        for ref, length in ((2, 100), (3, 1000)):
            await socket.ask(tab.send(ref, length=length), protocol.EnvelopeStored)

    rows = await sync_to_async(rows_of)("messaging_envelope")

    assert [(row["n"], row["side"]) for row in rows] == [(1, 0), (2, 0)]
    assert all(row["stored_at"] for row in rows)
    sizes = [len(bytes_of(row["envelope"])) for row in rows]
    assert sizes[1] - sizes[0] == pytest.approx(900, abs=4)


@pytest.mark.usefixtures("_hub_ends")
async def test_what_is_called_locked_has_no_name_key_or_device_in_it(
    a: Person, b: Person, conversation: UUID
) -> None:
    """Each column that the page calls locked, in a database in which each of them is filled."""
    tab = a.tab(conversation)
    async with a.socket() as socket:
        await socket.ask(tab.append(ref=1), protocol.EpochAppended)
        stored = await socket.ask(tab.send(2), protocol.EnvelopeStored)
        assert stored.n == 1
    report = await sync_to_async(make_report)(
        by=b.user,
        conversation=conversation,
        category=Report.Category.SPAM,
        note="Alice1 of Bobby",
        disclosed=[Disclosed(1, b"Alice1", bytes(32))],
    )
    assert report.message_count == 1
    await sync_to_async(invites.make)(uses=1, days=1, note="", by=None, source="test")

    def look() -> Iterator[tuple[str, str, bytes]]:
        for name, table in TABLES.items():
            locked = [column for column, (shown, _) in table.columns.items() if shown is not Shown.CLEAR]
            rows = rows_of(name)
            assert rows or not locked, f"Nothing is in {name}, so nothing was looked at."
            for row in rows:
                yield from ((name, column, bytes_of(row[column]).lower()) for column in locked)

    device = a.key.public_key().public_bytes_raw()
    names = [b"alice1", b"bobby", settings.PUBLIC_ORIGIN.encode(), device]
    sealed = {
        ("messaging_envelope", "envelope")
    }  # Its outside names the device by its number, as the page says.
    for table, column, content in await sync_to_async(lambda: list(look()))():
        assert not any(name.lower() in content for name in names), f"{table}.{column}"
        if (table, column) not in sealed:
            assert tab.device not in content, f"{table}.{column}"

    chain = await sync_to_async(lambda: [entry.entry for entry in KeyChainEntry.objects.all()])()
    assert any(device in entry for entry in chain), "What is searched for has to be there, locked."
