"""`make demo`, two people of it in their browsers, and `manage.py demo_attack` against the server that they use."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import expect

from accounts.demo_people import DEMO_PASSWORDS
from tests.e2e.conftest import RESULTS
from tests.e2e.person import Person
from tests.live_server import LiveServer

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def demo(server: LiveServer) -> None:
    """A second run finds everybody there."""
    assert "Alice and Bobby are friends" in server.manage("demo")
    assert "nothing was changed" in server.manage("demo")


@pytest.fixture
def friends(
    demo: None, server: LiveServer, new_person: Callable[..., Person], request: pytest.FixtureRequest
) -> Iterator[tuple[Person, Person]]:
    """Alice and Bobby, each in the conversation with the other. What a failed test left is undone."""
    alice, bobby = (new_person(name, DEMO_PASSWORDS[name]) for name in ("Alice", "Bobby"))
    for person, other in ((alice, bobby), (bobby, alice)):
        person.log_in()
        person.open_chat(other)
        person.expect_message(other, "Hello Bobby! Can you read this?")
    _expect_healthy(alice, bobby, f"Here we are for {request.node.name}")
    yield alice, bobby
    _undo_what_is_left(server)


def _undo_what_is_left(server: LiveServer) -> None:
    with suppress(subprocess.CalledProcessError):
        server.manage("demo_attack", "--undo")


def alarm(person: Person) -> Any:
    return person.page.locator(".banner-alarm")


def ask_again(person: Person) -> None:
    alarm(person).get_by_role("button", name="Ask again").click()


def reload(person: Person) -> None:
    person.page.reload()


@dataclass(frozen=True)
class Shown:
    """What each of the two sees in the page that is open, after a reload, and what then brings it back."""

    alice: str
    bobby: str
    reloaded: str
    bobby_heals: Callable[[Person], None] = ask_again


_FLIPPED, _DROPPED = "Two different conversations", "Messages disappeared"
SHOWN = {
    "flip-byte": Shown(_FLIPPED, _FLIPPED, _FLIPPED),
    "drop-row": Shown(_DROPPED, _DROPPED, _DROPPED),
    "swap-key": Shown("Keys are not genuine", "Your keys are not genuine", "Different identity", reload),
}


@pytest.mark.parametrize("kind", SHOWN)
def test_open_browsers_show_the_alarm_and_are_healthy_after_the_undo(
    friends: tuple[Person, Person], server: LiveServer, kind: str
) -> None:
    alice, bobby = friends
    shown = SHOWN[kind]

    said = server.manage("demo_attack", kind)

    for person, title in ((alice, shown.alice), (bobby, shown.bobby)):
        expect(alarm(person)).to_contain_text(title)
        assert f"“{title}”" in said
        person.screenshot(RESULTS / "demo_attack" / f"{kind}-{person.name}.png")
    expect(alice.composer(bobby)).to_have_count(0)

    assert f"Undone: {kind}." in server.manage("demo_attack", "--undo")
    ask_again(alice)
    shown.bobby_heals(bobby)
    alice.expect_message(bobby, "Hello Bobby! Can you read this?")
    _expect_healthy(alice, bobby, f"Well again after {kind}")
    _expect_healthy(bobby, alice, f"So am I after {kind}")


@pytest.mark.parametrize("kind", SHOWN)
def test_a_page_loaded_meanwhile_shows_it_too_and_a_reload_after_the_undo_is_enough(
    friends: tuple[Person, Person], server: LiveServer, kind: str
) -> None:
    alice, bobby = friends
    server.manage("demo_attack", kind)
    expect(alarm(alice)).to_be_visible()

    alice.page.reload()

    expect(alarm(alice)).to_contain_text(SHOWN[kind].reloaded)
    server.manage("demo_attack", "--undo")
    for person, other in ((alice, bobby), (bobby, alice)):
        person.page.reload()
        person.expect_message(other, "Hello Bobby! Can you read this?")
    _expect_healthy(alice, bobby, f"Loaded again after {kind}")


def test_who_has_not_seen_the_dropped_message_learns_from_the_other_that_it_was_there(
    demo: None, server: LiveServer, new_person: Callable[..., Person]
) -> None:
    alice, carol = (new_person(name, DEMO_PASSWORDS[name]) for name in ("Alice", "Carol"))
    for person in (alice, carol):
        person.log_in()
    alice.approve(carol)
    carol.open_chat(alice)
    alice.open_chat(carol)
    _expect_healthy(alice, carol, "Are you there?")
    carol.page.goto("/friends/")
    alice.send(carol, "Then read this later")
    expect(alice.message(carol, "Then read this later")).to_contain_text("Sent")
    conversation = alice.page.url.rstrip("/").rpartition("/")[2]

    try:
        _drop_row_once_confirmed(server, conversation)
        expect(alarm(alice)).to_contain_text("Messages disappeared")
        carol.page.goto(f"/chat/{conversation}/")
        expect(alarm(carol)).to_contain_text("Messages are held back")
        server.manage("demo_attack", "drop-row", "--undo")
    finally:
        _undo_what_is_left(server)

    ask_again(alice)
    ask_again(carol)
    carol.expect_message(alice, "Then read this later")
    _expect_healthy(carol, alice, "Now I have read it")


def _drop_row_once_confirmed(server: LiveServer, conversation: str) -> None:
    """Alice's browser confirms a second later what it has sent."""
    for attempt in range(10):
        try:
            server.manage("demo_attack", "drop-row", "--conversation", conversation)
        except subprocess.CalledProcessError as refused:
            if attempt == 9 or "No browser has confirmed" not in refused.stderr:
                raise
        else:
            return


def _expect_healthy(sender: Person, receiver: Person, text: str) -> None:
    sender.send(receiver, text)
    receiver.expect_message(sender, text)
    expect(sender.message(receiver, text)).to_contain_text(re.compile("Delivered|Read"))
    for person in (sender, receiver):
        expect(alarm(person)).to_have_count(0)
