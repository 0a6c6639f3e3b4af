"""Many messages at once and browsers that are killed: nothing is lost, nothing doubled, nobody alarmed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import BrowserType, ConsoleMessage, Page, expect

from tests.e2e.conftest import CHROMIUM_ARGUMENTS
from tests.e2e.person import Person
from tests.e2e.recording_proxy import RecordingProxy
from tests.live_server import LiveServer
from tests.peer.client import Peer

pytestmark = pytest.mark.e2e

MESSAGES_OF_A_TAB = 200
NewPerson = Callable[..., Person]

# Writes into the composer and presses Enter as fast as the page takes it; the page's own code does the rest.
_SEND_MANY = """async ([label, prefix, count]) => {
  const composer = [...document.querySelectorAll('textarea')].find((one) => one.labels[0]?.textContent.includes(label))
  const value = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value')
  for (let number = 0; number < count; number += 1) {
    value.set.call(composer, `${prefix} ${number}`)
    composer.dispatchEvent(new InputEvent('input', { bubbles: true }))
    composer.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }))
    while (composer.value !== '') await new Promise((resolve) => setTimeout(resolve, 2))
  }
}"""

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


def _texts_read_by(server: LiveServer, reader: Person, writer: Person) -> list[str]:
    """The whole conversation as the second, independent client reads and checks it for ``reader``."""

    async def read() -> list[str]:
        peer = Peer(server.origin, server.ca_file)
        await peer.log_in(reader.name, reader.password)
        await peer.connect()
        try:
            return [message.text for message in await peer.read(writer.name)]
        finally:
            await peer.disconnect()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, read()).result()


def _expect_no_alarm(*pages: Page) -> None:
    for page in pages:
        expect(page.locator(".banner-alarm")).to_have_count(0)
        expect(page.get_by_text("It is not shown")).to_have_count(0)


@pytest.fixture
def friends(new_person: NewPerson, request: pytest.FixtureRequest) -> tuple[Person, Person]:
    number = abs(hash(request.node.name)) % 100_000
    alice, bob = new_person(f"Alice{number}"), new_person(f"Bobby{number}")
    alice.sign_up()
    bob.sign_up()
    alice.befriend(bob)
    return alice, bob


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
        page.evaluate(f"(values) => {{ window.sending = ({_SEND_MANY})(values) }}", values)
    for page in (alice.page, second):
        page.evaluate("() => window.sending")

    for tab in ("first", "second"):
        expect(bob.log(alice).get_by_text(f"{tab} {MESSAGES_OF_A_TAB - 1}", exact=True)).to_have_count(
            1, timeout=120_000
        )
    expect(alice.log(bob).get_by_text("Waiting to be sent")).to_have_count(0, timeout=60_000)
    texts = _texts_read_by(server, bob, alice)
    assert sorted(texts) == sorted(written)
    for tab in ("first", "second"):
        assert [text for text in texts if text.startswith(tab)] == [
            text for text in written if text.startswith(tab)
        ]
    _expect_no_alarm(alice.page, second, bob.page)


class KilledBrowser:
    """A browser of its own process and profile, so that it can die as browsers die."""

    def __init__(
        self, browser_type: BrowserType, options: dict[str, object], profile: Path, origin: str
    ) -> None:
        self._browser_type, self._options, self._profile, self._origin = (
            browser_type,
            options,
            profile,
            origin,
        )

    def start(self, name: str) -> Person:
        context = self._browser_type.launch_persistent_context(
            self._profile,
            ignore_https_errors=True,
            base_url=self._origin,
            args=CHROMIUM_ARGUMENTS,
            **{key: value for key, value in self._options.items() if key == "executable_path"},  # type: ignore[arg-type]
        )
        context.set_default_timeout(20_000)
        return Person(context, context.pages[0], self._origin, name, "Passw0rd!")

    def kill(self) -> None:
        """SIGKILL for every process of the profile; nothing is written down any more."""
        wanted = str(self._profile).encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
            except (OSError, ProcessLookupError):
                continue


@contextmanager
def _killed_when(browser: KilledBrowser, proxy: RecordingProxy, sign: bytes, count: int) -> Iterator[None]:
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
    browser_type: BrowserType,
    browser_type_launch_args: dict[str, object],
    tmp_path: Path,
    sign: bytes,
    count: int,
    request: pytest.FixtureRequest,
) -> None:
    number = abs(hash(request.node.name)) % 100_000
    browser = KilledBrowser(browser_type, browser_type_launch_args, tmp_path / "profile", server.origin)
    alice, bob = browser.start(f"Alice{number}"), new_person(f"Bobby{number}")
    bob.sign_up()
    alice.sign_up()
    alice.befriend(bob)

    shown: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.text.startswith("shown: "):
            shown.append(message.text.removeprefix("shown: "))

    alice.page.on("console", note)
    with _killed_when(browser, proxy, sign, count):
        try:
            alice.open_chat(bob)
            alice.page.evaluate(_TELL_SHOWN)
            alice.page.evaluate(_SEND_MANY, [f"Message to {bob.name}", "message", len(WRITTEN)])
            alice.page.wait_for_event("close", timeout=30_000)
        except Exception as error:  # The browser dies under the call, whichever it is.
            assert re.search(r"closed|crashed|disconnected", str(error)), error  # noqa: PT017
    again = browser.start(alice.name)
    again.page.goto("/friends/")
    if "/log-in/" in again.page.url:
        again.log_in(expect_url=f"{server.origin}/friends/")
    again.open_chat(bob)
    again.send(bob, "after")

    again.expect_sent(bob, "after")
    bob.open_chat(again)
    bob.expect_message(again, "after")
    texts = _texts_read_by(server, bob, again)
    # What the log had shown is there, once and in order. Of the rest, the last may have been saved and not yet shown.
    assert shown == WRITTEN[: len(shown)]
    assert shown or sign == b"PUT /api/vault/"  # That comes before the first message is written.
    assert texts == [*WRITTEN[: max(len(shown), len(texts) - 1)], "after"]
    _expect_no_alarm(again.page, bob.page)
    again.context.close()
