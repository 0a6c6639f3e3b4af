"""Many messages at once and browsers that are killed: nothing is lost, nothing doubled, nobody alarmed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from playwright.sync_api import ConsoleMessage, expect

from tests.e2e.own_browser import OwnBrowser
from tests.e2e.person import SEND_MANY, Person, expect_no_alarm
from tests.e2e.recording_proxy import RecordingProxy
from tests.e2e.second_reader import texts_read_by
from tests.live_server import LiveServer

pytestmark = pytest.mark.e2e

MESSAGES_OF_A_TAB = 200
NewPerson = Callable[..., Person]

WRITTEN = [f"message {number}" for number in range(12)]

# Tells the console of each message as soon as the log shows it: it is safe in this browser from then on.
_TELL_SHOWN = """() => {
  const log = document.querySelector('[role=log]')
  const told = new Set()
  new MutationObserver(() => {
    for (const text of [...log.querySelectorAll('.bubble')].map((one) => one.textContent.trim())) {
      if (!told.has(text)) console.log(`shown: ${text}`)
      told.add(text)
    }
  }).observe(log, { childList: true, characterData: true, subtree: true })
}"""


def test_200_messages_from_each_of_two_tabs_arrive_once_each(
    friends: tuple[Person, Person], server: LiveServer
) -> None:
    alice, bob = friends
    alice.open_chat(bob)
    bob.open_chat(alice)
    second = alice.new_tab()
    second.goto(alice.page.url)
    expect(alice.composer(bob, page=second)).to_be_visible()
    written = [f"{tab} {number}" for tab in ("first", "second") for number in range(MESSAGES_OF_A_TAB)]

    for tab, page in (("first", alice.page), ("second", second)):
        values = [f"Message to {bob.name}", tab, MESSAGES_OF_A_TAB]
        page.evaluate(f"(values) => {{ window.sending = ({SEND_MANY})(values) }}", values)
    for page in (alice.page, second):
        page.evaluate("() => window.sending")

    for tab in ("first", "second"):
        expect(bob.log(alice).get_by_text(f"{tab} {MESSAGES_OF_A_TAB - 1}", exact=True)).to_have_count(
            1, timeout=120_000
        )
    expect(alice.log(bob).get_by_text("Waiting to be sent")).to_have_count(0, timeout=60_000)
    texts = texts_read_by(server, bob, alice)
    assert sorted(texts) == sorted(written)
    for tab in ("first", "second"):
        assert [text for text in texts if text.startswith(tab)] == [
            text for text in written if text.startswith(tab)
        ]
    expect_no_alarm(alice.page, second, bob.page)


@contextmanager
def _killed_when(browser: OwnBrowser, proxy: RecordingProxy, sign: bytes, count: int) -> Iterator[None]:
    """Kills the browser as soon as ``sign`` is on its way to the server for the ``count``-th time."""
    start = len(proxy.received)

    def watch() -> bool:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if proxy.received.count(sign, start) >= count:
                browser.kill()
                return True
            time.sleep(0.001)
        return False

    with ThreadPoolExecutor(1) as thread:
        seen = thread.submit(watch)
        yield
        assert seen.result(), f"the browser never sent {sign.decode()}"


@pytest.mark.parametrize(
    ("sign", "count"),
    [
        (b'"type":"envelope.send"', 1),
        (b'"type":"envelope.send"', 5),
        (b'"type":"epoch.append"', 1),
        (b"PUT /api/vault/", 1),
        (b'"type":"head.set"', 1),
    ],
    ids=["send", "fifth send", "epoch", "vault write", "head"],
)
def test_a_browser_that_is_killed_loses_and_doubles_nothing(
    new_person: NewPerson,
    server: LiveServer,
    proxy: RecordingProxy,
    own_browser: OwnBrowser,
    sign: bytes,
    count: int,
    number: int,
) -> None:
    alice, bob = own_browser.start(f"Alice{number}"), new_person(f"Bobby{number}")
    bob.sign_up()
    alice.sign_up()
    alice.befriend(bob)

    shown: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.text.startswith("shown: "):
            shown.append(message.text.removeprefix("shown: "))

    alice.page.on("console", note)
    with _killed_when(own_browser, proxy, sign, count):
        try:
            alice.open_chat(bob)
            alice.page.evaluate(_TELL_SHOWN)
            alice.send_many(bob, "message", len(WRITTEN))
            alice.page.wait_for_event("close", timeout=30_000)
        except Exception as error:  # The browser dies under the call, whichever it is.
            assert re.search(r"closed|crashed|disconnected", str(error)), error  # noqa: PT017
    again = own_browser.start(alice.name)
    again.page.goto("/friends/")
    if "/log-in/" in again.page.url:
        again.log_in(expect_url=f"{server.origin}/friends/")
    again.open_chat(bob)
    again.send(bob, "after")

    again.expect_sent(bob, "after")
    bob.open_chat(again)
    bob.expect_message(again, "after")
    texts = texts_read_by(server, bob, again)
    # What the log had shown is there, once and in order. Of the rest, the last may have been saved and not yet shown.
    assert shown == WRITTEN[: len(shown)]
    assert shown or sign == b"PUT /api/vault/"  # That comes before the first message is written.
    assert texts == [*WRITTEN[: max(len(shown), len(texts) - 1)], "after"]
    expect_no_alarm(again.page, bob.page)
    again.context.close()
