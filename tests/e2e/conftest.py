"""A whole server, as `manage.py serve` runs it, behind a proxy that records, and Chromium in front."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.person import Person
from tests.e2e.recording_proxy import RecordingProxy
from tests.live_server import ROOT, LiveServer, live_server

RESULTS = ROOT / "var" / "screenshots"
FAILED = pytest.StashKey[bool]()

expect.set_options(timeout=20_000)  # A small machine that also runs the server and the other browsers.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


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
