"""What Chromium does with a program that was changed, and what the pages say about the one that runs."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.person import STRETCH_TIMEOUT_MS, Person
from tests.live_server import ROOT, LiveServer, live_server

pytestmark = pytest.mark.e2e

NOT_COPIED = shutil.ignore_patterns(".*", "node_modules", "var", "certs", "tests", "bench", "__pycache__")
SCRIPT = b"\n;globalThis.changed = true;"
STYLE = b"\nbody { visibility: hidden }"
REFUSED = "A part of this page did not load, or was changed on its way."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Of a copy of the project, in which this build was published."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT, folder / "project", ignore=NOT_COPIED)
    with live_server(folder, root=folder / "project") as running:
        publish(running, fingerprint_of(running))
        yield running


@pytest.fixture(scope="module")
def proxy() -> None:
    """This server is asked directly."""


@pytest.fixture
def visitor(browser: Browser, server: LiveServer) -> Iterator[Person]:
    """Nothing is in this browser's cache; what is refused in it is no fault."""
    person = Person.in_new_context(browser, server.origin, name="Visitor", password="Passw0rd!")
    yield person
    person.context.close()


def static(server: LiveServer) -> Path:
    return server.directory / "static"


def fingerprint_of(server: LiveServer) -> str:
    return hashlib.sha256((static(server) / "manifest.json").read_bytes()).hexdigest()


def publish(server: LiveServer, fingerprint: str) -> None:
    version = json.loads((static(server) / "manifest.json").read_text())["version"]
    (server.root / "docs" / "builds.md").write_text(f"| {version} | today | `{fingerprint}` |\n")


def copies_of(server: LiveServer, name: str) -> list[Path]:
    """Under each of its names, compressed or not."""
    path = Path(name)
    folder = static(server) / "securechat"
    return [
        file
        for file in folder.iterdir()
        if re.fullmatch(
            rf"{re.escape(path.stem)}(\.[0-9a-f]{{12}})?{re.escape(path.suffix)}(\.gz|\.br)?", file.name
        )
    ]


@contextmanager
def changed(server: LiveServer, name: str, addition: bytes) -> Iterator[None]:
    """The server runs with this on the end of the file, and then again without."""
    kept = {file: file.read_bytes() for file in copies_of(server, name)}
    assert kept
    server.stop()
    for file, content in kept.items():
        if file.suffix in (".gz", ".br"):
            file.unlink()
        else:
            file.write_bytes(content + addition)
    server.start()
    try:
        yield
    finally:
        server.stop()
        for file, content in kept.items():
            file.write_bytes(content)
        server.start()


def chunk_of(server: LiveServer, entry: str) -> str:
    """The first module that this one imports."""
    found = re.search(
        rb'from"\./(chunk-[A-Z0-9]{8}\.js)"', (static(server) / "securechat" / entry).read_bytes()
    )
    assert found is not None
    return found[1].decode()


def in_groups(fingerprint: str) -> str:
    return " ".join(re.findall("....", fingerprint))


def ran(page: Page) -> bool:
    return bool(page.evaluate("globalThis.changed === true"))


# A changed file


def test_a_changed_script_does_not_run_and_the_page_says_so(server: LiveServer, visitor: Person) -> None:
    page = visitor.page
    with changed(server, "log_in.js", SCRIPT):
        page.goto("/log-in/")
        expect(page.get_by_role("alert").filter(has_text=REFUSED)).to_be_visible()

        assert not ran(page)
        assert any("integrity" in problem for problem in visitor.problems)
        expect(page.get_by_role("button", name="Log in", exact=True)).to_be_disabled()

        page.get_by_role("link", name="Check this program").click()
        expect(page.get_by_text("securechat/log_in.js is not as the manifest says.")).to_be_visible()
    page.goto("/log-in/")
    expect(page.get_by_role("button", name="Log in", exact=True)).to_be_enabled()
    expect(page.get_by_text(REFUSED)).to_have_count(0)


def test_a_changed_module_that_others_import_does_not_run(server: LiveServer, visitor: Person) -> None:
    """It has no tag: the import map says its hash."""
    page = visitor.page
    with changed(server, chunk_of(server, "log_in.js"), SCRIPT):
        page.goto("/log-in/")
        expect(page.get_by_role("alert").filter(has_text=REFUSED)).to_be_visible()

        assert not ran(page)
        expect(page.get_by_role("button", name="Log in", exact=True)).to_be_disabled()


def test_without_the_script_of_every_page_the_rest_works(server: LiveServer, visitor: Person) -> None:
    page = visitor.page
    with changed(server, "site.js", SCRIPT):
        page.goto("/log-in/")
        expect(page.get_by_role("button", name="Log in", exact=True)).to_be_enabled()

        assert not ran(page)
        assert any("integrity" in problem for problem in visitor.problems)


def test_a_changed_style_is_not_used(server: LiveServer, visitor: Person) -> None:
    page = visitor.page
    with changed(server, "site.css", STYLE):
        page.goto("/log-in/")

        expect(page.get_by_role("alert").filter(has_text=REFUSED)).to_be_visible()
        assert page.evaluate("getComputedStyle(document.body).visibility") == "visible"


def test_a_changed_worker_gets_no_password(server: LiveServer, visitor: Person) -> None:
    """No browser checks a worker's hash: the page does."""
    page = visitor.page
    with changed(server, "argon2-worker.js", SCRIPT):
        visitor.fill_log_in()

        expect(page.get_by_text("was changed on its way. Nothing was sent")).to_be_visible()
        assert page.workers == []


# Trusted Types

SINKS = {
    "markup": "document.createElement('div').innerHTML = '<img>'",
    "a script's address": "document.createElement('script').src = '/static/securechat/site.js'",
    "a worker's address": "new Worker('/static/securechat/chat.js')",
    "a document": "new DOMParser().parseFromString('<p>', 'text/html')",
    "code": "setTimeout('globalThis.changed = true')",
    "a policy of one's own": "trustedTypes.createPolicy('other', { createHTML: (text) => text })",
}


def refusals(page: Page) -> dict[str, str]:
    """What each sink answers to a plain string."""
    return {
        name: page.evaluate(
            f"() => {{ try {{ {sink}; return 'let through' }} catch (e) {{ return e.name }} }}"
        )
        for name, sink in SINKS.items()
    }


def test_no_page_of_the_app_makes_markup_or_code_of_text(server: LiveServer, visitor: Person) -> None:
    visitor.sign_up()
    for path in ("/chat/", "/friends/", "/settings/", "/about/"):
        visitor.page.goto(path)

        assert refusals(visitor.page) == dict.fromkeys(SINKS, "TypeError"), path
        assert not ran(visitor.page)


# Which build runs


@pytest.mark.parametrize(
    ("published", "words"),
    [
        (None, "The two are the same."),
        ("b" * 64, "The two differ: this is not the build that was published."),
    ],
)
def test_about_shows_the_running_build_beside_the_published_one(
    server: LiveServer, visitor: Person, published: str | None, words: str
) -> None:
    running = fingerprint_of(server)
    publish(server, published or running)
    page = visitor.page

    page.goto("/about/")

    expect(page.locator("#build-fingerprint")).to_have_text(in_groups(running))
    expect(page.locator("#published-fingerprint")).to_have_text(in_groups(published or running))
    expect(page.get_by_text(words)).to_be_visible()
    total = len(json.loads((static(server) / "manifest.json").read_text())["files"])
    expect(page.get_by_text(f"{total} of {total} files match its manifest.")).to_be_visible()
    assert visitor.problems == []


@pytest.fixture
def other_build(server: LiveServer) -> Iterator[Callable[[], str]]:
    """Lets the server start again with another build; gives its fingerprint."""
    manifest = static(server) / "manifest.json"
    kept = {file: file.read_bytes() for file in manifest.parent.glob("manifest*.json*")}

    def restart() -> str:
        server.stop()
        content = manifest.read_bytes().replace(b'"version": "', b'"version": "9.')
        for file in kept:
            file.unlink()
        manifest.write_bytes(content)
        server.start()
        return fingerprint_of(server)

    yield restart
    server.stop()
    for file, content in kept.items():
        file.write_bytes(content)
    server.start()


def test_an_open_page_notices_that_another_build_runs(
    server: LiveServer, visitor: Person, other_build: Callable[[], str]
) -> None:
    page = visitor.page
    visitor.name = "Watcher"
    visitor.sign_up()
    page.goto("/chat/")
    notice = page.locator("[data-build-notice]")
    while page.evaluate("performance.now()") < 6_000:  # A page that has just come asks nothing yet.
        page.wait_for_timeout(250)
    expect(notice).to_have_count(0)

    fingerprint = other_build()

    expect(notice).to_contain_text("A new version is ready.", timeout=STRETCH_TIMEOUT_MS)
    expect(notice).to_contain_text("-".join(re.findall("....", fingerprint[:16])))
    notice.get_by_role("button", name="Reload").click()
    expect(page.locator(f'meta[name="build"][content="{fingerprint}"]')).to_have_count(1)
    expect(notice).to_have_count(0)
