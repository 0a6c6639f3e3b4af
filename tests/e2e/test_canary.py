"""Plants words in a password, a recovery code and messages, and looks for them in everything the server has and receives."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Callable, Iterator

import pytest
import redis
from playwright.sync_api import expect

from tests.e2e.person import STRETCH_TIMEOUT_MS, Person
from tests.e2e.recording_proxy import RecordingProxy
from tests.live_server import LiveServer

pytestmark = pytest.mark.e2e

PASSWORD = "Kanarie-7vogel!"
MESSAGE = "Zeldzamekanarieboodschap 4711"


def forms_of(word: str) -> Iterator[bytes]:
    """As it is, in UTF-16, hex, and base64 at each of its three alignments."""
    raw = word.encode()
    yield from (raw, raw.lower(), word.encode("utf-16-le"), raw.hex().encode(), raw.hex().upper().encode())
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw)
        inner = encoded[4 if offset else 0 : len(encoded) - 4]
        yield from (inner, inner.translate(bytes.maketrans(b"+/", b"-_")))


def everything_there_is(server: LiveServer, proxy: RecordingProxy) -> Iterator[tuple[str, bytes]]:
    for path in sorted((server.directory / "var").rglob("*")):
        if path.is_file():
            yield str(path.relative_to(server.directory)), path.read_bytes()
    yield "server.log", server.log_file.read_bytes()
    yield "received traffic", bytes(proxy.received)
    yield "redis", redis_content(server)
    if url := os.environ.get("DATABASE_URL"):
        yield "postgresql", subprocess.run(["pg_dump", url], check=True, capture_output=True).stdout


def redis_content(server: LiveServer) -> bytes:
    url = server.manage(
        "shell", "--no-imports", "-c", "from django.conf import settings; print(settings.EFFECTIVE_REDIS_URL)"
    )
    client = redis.Redis.from_url(url.strip())
    values = [key + b"\n" + (client.dump(key) or b"") for key in client.scan_iter()]
    client.close()
    assert values, "Somebody is online, so Redis must hold something."
    return b"\n".join(values)


def find(words: list[str], server: LiveServer, proxy: RecordingProxy) -> list[str]:
    return [
        f"{word!r} in {place}"
        for place, content in everything_there_is(server, proxy)
        for word in words
        if any(form in content for form in forms_of(word))
    ]


def test_no_password_message_code_or_private_key_reaches_the_server(
    new_person: Callable[..., Person], server: LiveServer, proxy: RecordingProxy
) -> None:
    alice, bob = new_person("Canary1", PASSWORD), new_person("Canary2", PASSWORD)
    alice.sign_up()
    bob.sign_up()
    alice.befriend(bob)
    bob.open_chat(alice)
    alice.open_chat(bob)
    alice.send(bob, MESSAGE)
    bob.expect_message(alice, MESSAGE)
    alice.log_out()
    alice.log_in()
    expect(alice.page.get_by_role("link", name="Add friend").first).to_be_visible()

    code = alice.recovery_code
    secrets = [PASSWORD, MESSAGE, code, code.replace("-", "")]

    assert find(secrets, server, proxy) == []
    assert find(["Canary1"], server, proxy), "The search must find what is there: a name travels in clear."


def test_neither_redis_nor_the_log_names_anybody(
    new_person: Callable[..., Person], server: LiveServer, proxy: RecordingProxy
) -> None:
    """While two people are online and talk, and after a log-in that was refused."""
    alice, bob = new_person("Vogelnaam1"), new_person("Vogelnaam2")
    alice.sign_up()
    bob.sign_up()
    alice.befriend(bob)
    bob.open_chat(alice)
    alice.open_chat(bob)
    alice.send(bob, "Are you there?")
    bob.expect_message(alice, "Are you there?")
    stranger = new_person("Vogelnaam3")
    stranger.fill_log_in()
    expect(stranger.page.get_by_role("alert").first).to_be_visible(timeout=STRETCH_TIMEOUT_MS)

    places = {found.rpartition(" in ")[2] for found in find(["Vogelnaam"], server, proxy)}

    assert "received traffic" in places, "The search must find what is there."
    assert not places & {"redis", "server.log", "var/log/valkey.log"}


def test_the_search_finds_a_word_in_each_of_its_forms() -> None:
    raw = MESSAGE.encode()
    hiding_places = [
        raw,
        raw.hex().encode(),
        *(base64.urlsafe_b64encode(b"x" * n + raw + b"tail") for n in range(3)),
    ]

    for place in hiding_places:
        assert any(form in place for form in forms_of(MESSAGE))
