"""`/metrics` and the lines of the log: what is counted, who may read it, one line for each refusal, nothing secret."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings as current
from django.test import Client
from pytest_django import Settings

import friends.views
from accounts.models import User
from accounts.services import abuse_signals
from messaging import protocol
from securechat import certificates, logs, metrics
from securechat.asgi import application
from securechat.logs import JsonFormatter, PlainFormatter, refused
from tests import factories
from tests.accounts.browser import Browser, signed_in
from tests.messaging.conftest import Person, _hub_ends, a, b, conversation
from tests.messaging.test_reading import fill

__all__ = ["_hub_ends", "a", "b", "conversation"]

pytestmark = pytest.mark.django_db(transaction=True)
DOCS = Path(current.BASE_DIR) / "docs" / "operations.md"


@pytest.fixture(autouse=True)
def _own_certificates(settings: Settings, tmp_path: Path) -> None:
    settings.CERTS_DIR = str(tmp_path / "certs")
    certificates.init()


@pytest.fixture(autouse=True)
def _fresh_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_flow", logs._Flow())


class Lines(logging.Handler):
    """What a handler with that formatter would write."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.all: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.all.append(self.format(record))

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.all]

    @property
    def refusals(self) -> list[tuple[str, str]]:
        return [(line["where"], line["code"]) for line in self.objects if "code" in line]


@contextmanager
def logged(formatter: logging.Formatter | None = None) -> Iterator[Lines]:
    lines = Lines(formatter or JsonFormatter())
    root = logging.getLogger()
    root.addHandler(lines)
    level = root.level
    root.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        root.removeHandler(lines)
        root.setLevel(level)


def scraped() -> dict[str, float]:
    response = Client().get("/metrics")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == metrics.CONTENT_TYPE
    found = {}
    for line in response.content.decode().splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


# Metrics


async def test_a_message_is_counted_once_on_each_of_its_ways(
    a: Person, b: Person, conversation: UUID
) -> None:
    before = await sync_to_async(scraped)()
    async with a.socket() as alice, b.socket():
        await fill(alice, a.tab(conversation), 3)
        after = await sync_to_async(scraped)()

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grown("securechat_envelopes_stored_total") == 3
    assert grown("securechat_envelopes_delivered_total") == 3
    assert grown("securechat_store_batch_envelopes_sum") == 3
    assert grown("securechat_store_seconds_count") == grown("securechat_store_batch_envelopes_count") > 0
    assert grown("securechat_sockets") == 2
    assert after["securechat_writer_waiting_envelopes"] == 0


def test_log_ins_sign_ups_and_refusals_are_counted() -> None:
    factories.make_user("Alice1")
    before = scraped()
    signed_in("Alice1")
    Browser().log_in("Alice1", "Wr0ng#password")
    after = scraped()

    for name in (
        'securechat_log_ins_total{right="yes"}',
        'securechat_log_ins_total{right="no"}',
        'securechat_refusals_total{where="http",code="wrong_credentials"}',
    ):
        assert after[name] - before.get(name, 0) == 1, name


def test_the_parts_are_said_to_be_ready_and_the_certificate_to_end() -> None:
    found = scraped()

    assert {found[f'securechat_ready{{part="{part}"}}'] for part in ("database", "redis", "certificate")} == {
        1
    }
    assert found["securechat_certificate_end_timestamp_seconds"] > 1_700_000_000
    assert found["securechat_reports_waiting"] == 0
    assert found["process_open_fds"] > 3


def test_strangers_learn_nothing_of_it(settings: Settings) -> None:
    assert Client(REMOTE_ADDR="192.0.2.1").get("/metrics").status_code == 404
    assert Client(REMOTE_ADDR="::ffff:192.0.2.1").get("/metrics").status_code == 404
    assert Client(REMOTE_ADDR="::ffff:127.0.0.1").get("/metrics").status_code == 200
    assert (
        Client(REMOTE_ADDR="192.0.2.1").get("/metrics", headers={"x-forwarded-for": "127.0.0.1"}).status_code
        == 404
    )

    settings.METRICS_TOKEN = "a-long-token"
    assert Client().get("/metrics").status_code == 404
    assert Client().get("/metrics", headers={"authorization": "Bearer wrong"}).status_code == 404
    distant = Client(REMOTE_ADDR="192.0.2.1")
    assert distant.get("/metrics", headers={"authorization": "Bearer a-long-token"}).status_code == 200


def test_a_proxy_s_word_that_somebody_is_on_this_machine_is_not_enough(settings: Settings) -> None:
    """Its own machine is 127.0.0.1 to it, too, and a connection of which it says nothing has its own address."""
    settings.TRUSTED_PROXIES = ["192.0.2.9"]
    assert Client().get("/metrics").status_code == 404

    settings.METRICS_TOKEN = "a-long-token"
    assert Client().get("/metrics", headers={"authorization": "Bearer a-long-token"}).status_code == 200


def test_a_histogram_is_cumulative() -> None:
    histogram = metrics.Histogram("of_this_test", "For this test.", (1, 10))
    try:
        for value in (0.5, 1, 5, 50):
            histogram.observe(value)
        assert list(histogram.samples()) == [
            ("securechat_of_this_test_bucket", (("le", "1"),), 2),
            ("securechat_of_this_test_bucket", (("le", "10"),), 3),
            ("securechat_of_this_test_bucket", (("le", "+Inf"),), 4),
            ("securechat_of_this_test_sum", (), 56.5),
            ("securechat_of_this_test_count", (), 4),
        ]
    finally:
        metrics._metrics.pop(histogram.name)


def test_every_metric_of_the_documentation_is_there() -> None:
    signed_in_once = set(scraped()) | set(metrics._metrics)
    there = {re.split(r"[{ ]", name)[0] for name in signed_in_once}
    there |= {re.sub(r"_(bucket|sum|count)$", "", name) for name in there}
    named = set(re.findall(r"\b(?:securechat|process)_[a-z_]+\b", DOCS.read_text())) - {"securechat_restart"}

    assert len(named) >= 8
    assert {name for name in named if re.sub(r"_(bucket|sum|count)$", "", name) not in there} == set()


# Lines


def test_each_request_has_an_id_of_its_own_which_the_browser_is_told() -> None:
    with logged() as lines:
        first = Client().get("/no-such-page/", headers={"x-request-id": "chosen-by-a-stranger"})
        second = Client().get("/no-such-page/")

    ids = [response.headers["X-Request-ID"] for response in (first, second)]
    assert [line["request"] for line in lines.objects] == ids
    assert len(set(ids)) == 2
    assert "chosen-by-a-stranger" not in "".join(lines.all)


def test_each_refusal_of_a_request_is_one_line_with_its_code() -> None:
    factories.make_user("Alice1")
    with logged() as lines:
        Browser().log_in("Alice1", "Wr0ng#password")
        Browser().log_in("Nobody1")
        Browser().get("/api/keys/")
        Client(enforce_csrf_checks=True).post("/log-out/")
        Client().get("/", headers={"host": "evil.example"})

    assert lines.refusals == [
        ("http", "wrong_credentials"),
        ("http", "wrong_credentials"),
        ("http", "signed_out"),
        ("http", "http_403"),
        ("http", "http_400"),
    ]
    assert len(lines.all) == 5
    assert lines.objects[0]["page"] == "api-log-in"


async def test_each_refusal_on_a_socket_is_one_line_with_its_code_and_socket(
    a: Person, b: Person, conversation: UUID
) -> None:
    with logged() as lines:
        async with (
            b.socket(),
            a.socket() as alice,
        ):  # The first socket makes the hub, whose lines are not its own.
            await alice.send_text("no frame")
            await alice.next(protocol.Refused)
            await alice.refusal_of(a.tab(conversation).send(2))
            await alice.send_text("x" * 200_000)
            await alice.closed_with()

    assert lines.refusals == [
        ("frame", "malformed_frame"),
        ("envelope", "stale_epoch"),
        ("socket", "too_large"),
    ]
    assert len({line["connection"] for line in lines.objects}) == 1


async def test_a_socket_from_a_foreign_page_is_one_line() -> None:
    foreign = WebsocketCommunicator(application, "/ws/", headers=[(b"origin", b"https://evil.example")])
    with logged() as lines:
        connected, _ = await foreign.connect()

    assert not connected
    assert lines.refusals == [("socket", "foreign_origin")]
    assert "evil.example" not in "".join(lines.all)


def test_a_refusal_that_is_shown_on_a_page_is_one_line_too(settings: Settings) -> None:
    alice = factories.make_user("Alice1")
    settings.FRIEND_REQUESTS_PER_HOUR = 1
    client = factories.client_of(alice)
    with logged() as lines:
        client.post("/friends/add/", {"username": "Nobody1"})
        client.post("/friends/add/", {"username": "Nobody1"})
        client.post("/friends/unfriend/", {"friend": str(UUID(int=1)), "confirmed": "yes"})

    assert lines.refusals[:2] == [("http", "unknown_username"), ("http", "too_fast")]
    assert abuse_signals._too_fast[alice.pk] == 1
    abuse_signals._too_fast.clear()


def test_a_flood_of_refusals_is_counted_and_does_not_fill_the_disk(settings: Settings) -> None:
    settings.LOG_REFUSALS_PER_SECOND = 1
    before = metrics.REFUSALS.value(where="test", code="flood")
    with logged() as lines:
        for _ in range(1000):
            refused("test", "flood")
        assert 10 <= len(lines.all) < 20
        logs._flow._bucket = None
        refused("test", "flood")

    assert lines.objects[-1]["left_out"] == 1000 - (len(lines.all) - 1)
    assert metrics.REFUSALS.value(where="test", code="flood") - before == 1001


@pytest.mark.parametrize(
    "formatter", [JsonFormatter(), PlainFormatter("{message}", style="{")], ids=["json", "plain"]
)
async def test_nothing_secret_is_in_any_line(
    a: Person, b: Person, conversation: UUID, formatter: logging.Formatter
) -> None:
    """Names, addresses of conversations, cookies, tokens and bytes of messages are looked for in all of them."""
    with logged(formatter) as lines:
        browser = await sync_to_async(signed_in)("Alice1")
        cookie = browser.client.cookies[current.SESSION_COOKIE_NAME].value
        token = browser.csrf_token
        await sync_to_async(browser.post)("/api/vault/?canary=query", {"canary": "body"})
        await sync_to_async(browser.client.get)(f"/chat/{conversation}/canary")
        async with a.socket() as alice:
            frame = a.tab(conversation).send(2)
            await alice.refusal_of(frame)
            await alice.send_text('{"type": "canary-frame"}')
            await alice.next(protocol.Refused)
        text = "\n".join(lines.all)

    assert text
    for secret in ("Alice1", "alice1", "Bobby", str(conversation), cookie, token, "canary", "Tr0ub4dor"):
        assert secret not in text


@pytest.mark.parametrize(
    "formatter", [JsonFormatter(), PlainFormatter("{message}", style="{")], ids=["json", "plain"]
)
def test_a_page_that_breaks_tells_neither_its_address_nor_what_the_database_quotes(
    formatter: logging.Formatter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL's text for a row that is there twice has the row in it."""
    alice = factories.make_user("Alice1")
    client = factories.client_of(alice)
    client.raise_request_exception = False

    def break_off(*_: object, **__: object) -> None:
        try:
            raise ValueError(alice.username)
        except ValueError:
            twice = User.objects.get(pk=alice.pk)
            twice.pk = None
            twice.save(force_insert=True)

    monkeypatch.setattr(friends.views, "render", break_off)
    with logged(formatter) as lines:
        assert client.get("/add/Canary1?canary=query").status_code == 500

    (line,) = [line for line in lines.all if "IntegrityError" in line]
    assert "Internal Server Error: friend-link" in line
    assert "ValueError" in line
    assert "in break_off" in line
    for secret in ("Canary1", "canary=query", "Alice1", "alice1"):
        assert secret not in "\n".join(lines.all)


def test_what_the_launcher_quotes_of_an_exception_is_left_out() -> None:
    with logged() as lines:
        try:
            raise ValueError("Alice1".upper())
        except ValueError as error:
            logging.getLogger("daphne.server").error("It broke: %s", error, exc_info=error)
        try:
            raise OSError(28, "No space left on device")
        except OSError:
            logging.getLogger("securechat.test").exception("It broke.")

    assert "ALICE1" not in lines.all[0]
    assert lines.objects[0]["message"] == "It broke: ValueError"
    assert "OSError: [Errno 28] No space left on device" in lines.objects[1]["exception"]


def test_an_exception_stays_one_object() -> None:
    with logged() as lines:
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logging.getLogger("securechat.test").exception("It broke.")

    (line,) = lines.objects
    assert (line["level"], line["message"]) == ("ERROR", "It broke.")
    assert "ValueError" in line["exception"]
