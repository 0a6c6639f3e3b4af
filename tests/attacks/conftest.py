"""Alice in Chromium behind a server that lies; her friends are the independent client, which encrypts for real."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from playwright.sync_api import Browser

from tests.attacks.hostile_server import HostileServer
from tests.e2e.conftest import (  # The same Chromium, for pytest-playwright.
    browser_type_launch_args as browser_type_launch_args,
)
from tests.e2e.person import Person
from tests.live_server import LiveServer, live_server
from tests.peer.client import Peer

PASSWORD = "Passw0rd!"
T = TypeVar("T")
_numbers = itertools.count(1)


class Loop:
    """Runs the clients' coroutines beside Playwright, which has the main thread's loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def __call__(self, act: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(act, self._loop).result(60)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@dataclass(frozen=True)
class Stranger:
    name: str
    peer: Peer


@dataclass
class Friend:
    """Somebody whose client keeps the protocol, unless a test says otherwise."""

    name: str
    peer: Peer
    conversation: str
    run: Loop = field(repr=False)
    alices_name: str

    def send(self, text: str) -> None:
        self.run(self.peer.send(self.alices_name, text))

    def read(self) -> list[str]:
        """What was read and checked; the second tick goes out with it."""
        return [message.text for message in self.run(self.peer.read(self.alices_name))]


@dataclass
class Scene:
    """Alice, signed in to one browser; her other client approves whoever asks."""

    hostile: HostileServer
    server: LiveServer
    run: Loop
    alice: Person
    approver: Peer
    friends: list[Friend] = field(default_factory=list)

    def new_friend(self) -> Friend:
        stranger = self.new_stranger()
        self.run(stranger.peer.add_friend(self.alice.name))
        self.run(self.approver.approve([stranger.name]))
        return self.met(stranger)

    def new_stranger(self) -> Stranger:
        name = f"Friend{next(_numbers)}"
        peer = Peer(self.server.origin, self.server.ca_file)
        self.run(peer.sign_up(name, PASSWORD))
        return Stranger(name, peer)

    def met(self, stranger: Stranger) -> Friend:
        """Whose friendship with Alice was confirmed a moment ago."""
        self.run(stranger.peer.connect())
        conversation = self.run(stranger.peer.summary(self.alice.name))["conversation"]
        friend = Friend(stranger.name, stranger.peer, conversation, self.run, self.alice.name)
        self.friends.append(friend)
        return friend

    def send_friends_home(self) -> None:
        for friend in self.friends:
            self.run(friend.peer.disconnect())
        self.friends.clear()

    def open_chat(self, friend: Friend) -> None:
        self.alice.page.goto(f"/chat/{friend.conversation}/")

    def person(self, name: str) -> Person:
        """As the pages name them."""
        return Person(self.alice.context, self.alice.page, self.alice.origin, name, PASSWORD)


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    running = Loop()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("attacked"), behind_proxy=True) as running:
        yield running


@pytest.fixture(scope="session")
def hostile(server: LiveServer) -> Iterator[HostileServer]:
    certs = server.directory / "certs"
    between = HostileServer(
        port=server.public_port,
        server_port=server.port,
        certificate=certs / "server.crt",
        key=certs / "server.key",
    )
    between.start()
    yield between
    between.stop()


@pytest.fixture(scope="session")
def new_scene(
    browser: Browser, server: LiveServer, hostile: HostileServer, loop: Loop
) -> Iterator[Callable[[], Scene]]:
    """An Alice of one's own, for attacks on her account as a whole."""
    people: list[Person] = []

    def make() -> Scene:
        name = f"Alice{next(_numbers)}"
        approver = Peer(server.origin, server.ca_file)
        loop(approver.sign_up(name, PASSWORD))
        alice = Person.in_new_context(browser, server.origin, name=name, password=PASSWORD)
        people.append(alice)
        alice.log_in()
        return Scene(hostile, server, loop, alice, approver)

    yield make
    for person in people:
        person.context.close()


@pytest.fixture(scope="session")
def shared_scene(new_scene: Callable[[], Scene]) -> Scene:
    return new_scene()


@pytest.fixture
def scene(shared_scene: Scene) -> Iterator[Scene]:
    """Alice, with an honest server at the start and at the end of each test."""
    shared_scene.hostile.be_honest()
    shared_scene.hostile.problems.clear()
    yield shared_scene
    shared_scene.hostile.be_honest()
    shared_scene.send_friends_home()
    assert shared_scene.hostile.problems == []
