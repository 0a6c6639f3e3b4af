"""Messages that a server refuses for good: shown with the reason, in nobody's way, tried again or deleted by keyboard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.e2e.person import Person, expect_no_alarm
from tests.e2e.second_reader import texts_read_by
from tests.e2e.test_outbox import look
from tests.live_server import LiveServer, free_port

pytestmark = pytest.mark.e2e

REFUSED = "This page is too old for the server. Reload it, then try again."
NOT_TAKEN = "The server could not take this message."
# For tests.e2e.small_limits the one makes too long an envelope, the other too long a frame.
LONG, LONGER = "long " * 1_900, "字" * 9_500
_SLOW_FRAMES = "() => { window.requestAnimationFrame = (draw) => setTimeout(draw, 2_000) }"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """With smaller limits than its pages know of."""
    running = LiveServer(
        tmp_path_factory.mktemp("server"),
        port=(port := free_port()),
        public_port=port,
        settings={"DJANGO_SETTINGS_MODULE": "tests.e2e.small_limits"},
    )
    running.prepare()
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def proxy() -> None:
    """This server is asked directly."""


@pytest.mark.parametrize(("text", "reason"), [(LONG, REFUSED), (LONGER, NOT_TAKEN)], ids=["refused", "1009"])
def test_a_refused_message_says_why_and_keeps_nobody_waiting(
    friends: tuple[Person, Person], server: LiveServer, text: str, reason: str
) -> None:
    alice, bob = friends
    alice.open_chat(bob)
    page = alice.page
    failed = alice.log(bob).get_by_role("listitem").filter(has_text=reason)

    alice.send(bob, "one")
    alice.send(bob, text)
    alice.send(bob, "three")

    alice.expect_stored(bob, "three")
    expect(failed).to_have_attribute("data-status", "failed")
    expect(failed).to_contain_text("Not sent")
    spoken = page.locator("[aria-live=polite]").filter(has_text=f"Not sent to {bob.name}: {reason}")
    expect(spoken).to_have_count(1)
    expect(page.get_by_role("link").filter(has_text=bob.name)).to_contain_text("Not sent:")
    problems = look(alice, "refused" if reason == REFUSED else "not-taken")
    assert texts_read_by(server, bob, alice) == ["one", "three"]

    page.reload()
    expect(failed).to_have_attribute("data-status", "failed")
    alice.composer(bob).focus()
    page.keyboard.press("Shift+Tab")
    expect(failed.get_by_role("button", name="Delete")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(failed.get_by_role("button", name="Retry")).to_be_focused()
    retry = failed.get_by_role("button", name="Retry").element_handle()
    page.evaluate(_SLOW_FRAMES)  # The server may refuse it again before the next one.
    page.keyboard.press("Enter")
    page.wait_for_function("(button) => !button.isConnected", arg=retry, polling=100)
    expect(alice.log(bob).get_by_role("listitem").filter(has_text=text[:100])).to_be_focused()
    expect(failed).to_have_attribute("data-status", "failed", timeout=40_000)
    # Said again: the same text in the same place would be no news to a screen reader.
    expect(spoken).to_have_js_property("textContent", f"Not sent to {bob.name}: {reason}\u00a0")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(failed.get_by_role("button", name="Delete")).to_be_focused()
    page.keyboard.press("Enter")

    expect(failed).to_have_count(0)
    expect(alice.message(bob, "three")).to_be_focused()
    page.reload()
    alice.expect_message(bob, "three")
    expect(failed).to_have_count(0)
    alice.send(bob, "four")
    alice.expect_stored(bob, "four")
    assert texts_read_by(server, bob, alice) == ["one", "three", "four"]
    expect_no_alarm(page)
    assert problems == []
