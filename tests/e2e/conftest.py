"""A whole server, as `manage.py serve` runs it, behind a proxy that records, and Chromium in front."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserType, expect

from tests.e2e.own_browser import CHROMIUM_ARGUMENTS, OwnBrowser
from tests.e2e.person import Person
from tests.e2e.recording_proxy import RecordingProxy
from tests.live_server import ROOT, LiveServer, live_server

RESULTS = ROOT / "var" / "screenshots"
FAILED = pytest.StashKey[bool]()
NewPerson = Callable[..., Person]
_numbers = itertools.count(10_001)

expect.set_options(timeout=20_000)  # A small machine that also runs the server and the other browsers.


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("server"), behind_proxy=True) as running:
        yield running


@pytest.fixture(scope="session", autouse=True)
def proxy(server: LiveServer) -> Iterator[RecordingProxy]:
    """The only way to the server; everything that the browsers send passes it."""
    certs = server.directory / "certs"
    between = RecordingProxy(
        port=server.public_port,
        server_port=server.port,
        certificate=certs / "server.crt",
        key=certs / "server.key",
    )
    between.start()
    yield between
    between.stop()


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, object]) -> dict[str, object]:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    executable = {"executable_path": found} if found else {}
    return {**browser_type_launch_args, **executable, "args": CHROMIUM_ARGUMENTS}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture
def new_person(
    browser: Browser, server: LiveServer, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Person]]:
    """Makes a person in a browser of their own; alarms and errors on their console fail the test."""
    people: list[Person] = []

    def make(name: str, password: str = "Passw0rd!", **context: object) -> Person:
        person = Person.in_new_context(browser, server.origin, name=name, password=password, **context)
        people.append(person)
        return person

    yield make
    problems = [problem for person in people for problem in person.problems]
    if problems or request.node.stash.get(FAILED, False):
        for person in people:
            person.screenshot(RESULTS / f"{request.node.originalname}-{person.name}.png")
    for person in people:
        person.context.close()
    assert problems == []


@pytest.fixture
def number() -> int:
    """What the names of this test's people end with, as the server is shared."""
    return next(_numbers)


@pytest.fixture
def friends(new_person: Callable[..., Person], number: int) -> tuple[Person, Person]:
    """Alice and Bob, signed up and friends."""
    alice, bob = new_person(f"Alice{number}"), new_person(f"Bobby{number}")
    alice.sign_up()
    bob.sign_up()
    alice.befriend(bob)
    return alice, bob


@pytest.fixture
def talking(friends: tuple[Person, Person]) -> tuple[Person, Person]:
    """Alice and Bob, each in the conversation with the other."""
    alice, bob = friends
    bob.open_chat(alice)
    alice.open_chat(bob)
    return alice, bob


@pytest.fixture
def own_browser(
    browser_type: BrowserType,
    browser_type_launch_args: dict[str, object],
    server: LiveServer,
    tmp_path: Path,
) -> OwnBrowser:
    """Nobody's yet; whoever starts it closes it."""
    return OwnBrowser(browser_type, browser_type_launch_args, tmp_path / "profile", server.origin)
