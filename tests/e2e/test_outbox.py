"""Messages that wait: through reloads, killed browsers and servers, tabs that go, a database and a disk that say no."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from playwright.sync_api import CDPSession, ViewportSize, expect

from tests.e2e.conftest import RESULTS, NewPerson
from tests.e2e.own_browser import OwnBrowser
from tests.e2e.person import Person, expect_no_alarm
from tests.e2e.recording_proxy import RecordingProxy
from tests.e2e.second_reader import texts_read_by
from tests.e2e.test_accessibility import check_page
from tests.live_server import LiveServer

pytestmark = pytest.mark.e2e

WAITING = "Waiting to be sent"
PHONE: ViewportSize = {"width": 390, "height": 844}
STORES_NOTHING = """
from django.db import connection
with connection.cursor() as cursor:
    if connection.vendor == "sqlite":
        cursor.execute("CREATE TRIGGER no_room BEFORE INSERT ON messaging_envelope BEGIN SELECT RAISE(ABORT, 'full'); END")
    else:
        cursor.execute("ALTER TABLE messaging_envelope ADD CONSTRAINT no_room CHECK (n < 0) NOT VALID")
"""
STORES_AGAIN = """
from django.db import connection
with connection.cursor() as cursor:
    if connection.vendor == "sqlite":
        cursor.execute("DROP TRIGGER no_room")
    else:
        cursor.execute("ALTER TABLE messaging_envelope DROP CONSTRAINT no_room")
"""


def look(person: Person, name: str) -> list[str]:
    """Pictures of a phone by day and by night; what axe says in both widths."""
    page = person.page
    before = page.viewport_size
    problems = check_page(page, name)
    page.set_viewport_size(PHONE)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        person.screenshot(RESULTS / "outbox" / f"{name}-{scheme}.png")
    if before is not None:
        page.set_viewport_size(before)
    return problems


@contextmanager
def cut_off(proxy: RecordingProxy) -> Iterator[None]:
    proxy.cut()
    try:
        yield
    finally:
        proxy.mend()


def leave(person: Person) -> None:
    """As by a reload without a network: the browser's own page says that there is none."""
    with pytest.raises(Exception, match="ERR_"):
        person.page.reload()
    person.page.wait_for_url("chrome-error://**")


def write_without_network(person: Person, friend: Person, texts: list[str]) -> None:
    for text in texts:
        person.send(friend, text)
        expect(person.message(friend, text)).to_contain_text("Waiting")


def test_what_waits_survives_a_reload_while_the_server_is_away(
    friends: tuple[Person, Person], server: LiveServer, proxy: RecordingProxy
) -> None:
    alice, bob = friends
    alice.open_chat(bob)
    alice.send(bob, "before")
    alice.expect_stored(bob, "before")
    address = alice.page.url

    with cut_off(proxy):
        write_without_network(alice, bob, ["one", "two", "three"])
        leave(alice)
    alice.page.goto(address)

    alice.expect_stored(bob, "three")
    assert texts_read_by(server, bob, alice) == ["before", "one", "two", "three"]
    expect_no_alarm(alice.page)


def test_what_waits_survives_a_killed_browser_while_the_server_is_away(
    new_person: NewPerson, own_browser: OwnBrowser, server: LiveServer, proxy: RecordingProxy
) -> None:
    alice, bob = own_browser.start("AliceKilled"), new_person("BobbyKilled")
    alice.sign_up()
    bob.sign_up()
    alice.befriend(bob)
    alice.open_chat(bob)
    alice.send(bob, "before")
    alice.expect_stored(bob, "before")
    address = alice.page.url

    with cut_off(proxy):
        write_without_network(alice, bob, ["one", "two", "three"])
        own_browser.kill()
        again = own_browser.start(alice.name)
    again.page.goto("/friends/")
    if "/log-in/" in again.page.url:  # A cookie of the session may go with the browser that was killed.
        again.log_in(expect_url=f"{server.origin}/friends/")
    again.page.goto(address)

    again.expect_stored(bob, "three")
    assert texts_read_by(server, bob, again) == ["before", "one", "two", "three"]
    expect_no_alarm(again.page)
    again.context.close()


def test_a_tab_sends_what_another_wrote_and_left(
    friends: tuple[Person, Person], server: LiveServer, proxy: RecordingProxy
) -> None:
    alice, bob = friends
    alice.open_chat(bob)
    alice.send(bob, "before")
    alice.expect_stored(bob, "before")
    second = alice.new_tab()
    second.goto(alice.page.url)
    alice.expect_message(bob, "before", page=second)

    with cut_off(proxy):
        write_without_network(alice, bob, ["mine"])
        for text in ("left one", "left two"):
            alice.send(bob, text, page=second)
            expect(alice.log(bob, page=second).get_by_text(text, exact=True)).to_be_visible()
        second.close()
        expect(alice.message(bob, "left two")).to_contain_text("Waiting")

    for text in ("mine", "left one", "left two"):
        alice.expect_stored(bob, text)
    texts = texts_read_by(server, bob, alice)
    assert sorted(texts) == ["before", "left one", "left two", "mine"]
    assert texts.index("left one") < texts.index("left two")
    expect_no_alarm(alice.page)


def test_a_server_that_is_killed_while_messages_are_sent_gets_each_once_and_in_order(
    friends: tuple[Person, Person], server: LiveServer
) -> None:
    alice, bob = friends
    alice.open_chat(bob)
    bob.open_chat(alice)
    alice.send(bob, "before")
    bob.expect_message(alice, "before")
    written = [f"message {number}" for number in range(80)]

    def kill_and_start_again() -> None:
        server.kill()
        server.start()

    with ThreadPoolExecutor(1) as thread:
        killed = None
        for round_ in range(4):
            if killed is not None:
                killed.result()
                alice.expect_stored(bob, f"message {20 * round_ - 1}")
            killed = thread.submit(kill_and_start_again) if round_ < 3 else None
            for number in range(20 * round_, 20 * (round_ + 1)):
                alice.send(bob, f"message {number}")

    alice.expect_stored(bob, "message 79")
    expect(alice.log(bob).get_by_text(WAITING)).to_have_count(0)
    bob.expect_message(alice, "message 79")
    assert texts_read_by(server, bob, alice) == ["before", *written]
    expect_no_alarm(alice.page, bob.page)


def test_a_database_that_stores_nothing_is_said_and_asked_again(
    friends: tuple[Person, Person], server: LiveServer
) -> None:
    alice, bob = friends
    alice.open_chat(bob)
    alice.send(bob, "before")
    alice.expect_stored(bob, "before")
    banner = alice.page.locator(".banner").filter(has_text="The server could not store your message.")

    server.manage("shell", "--command", STORES_NOTHING)
    try:
        alice.send(bob, "one")
        expect(banner).to_be_visible()
        expect(alice.message(bob, "one")).to_contain_text("Waiting")
        alice.send(bob, "two")
        problems = look(alice, "stores-nothing")
    finally:
        server.manage("shell", "--command", STORES_AGAIN)
    retry = banner.get_by_role("button", name="Retry now")
    if retry.is_visible():
        retry.press("Enter")

    alice.expect_stored(bob, "two")
    expect(banner).to_have_count(0)
    assert texts_read_by(server, bob, alice) == ["before", "one", "two"]
    assert problems == []


ROOM_BYTES = 4_000_000
# Puts smaller and smaller pieces into a database of its own until not even the smallest fits.
FILL = """async () => {
  const database = await new Promise((resolve, reject) => {
    const request = indexedDB.open('junk', 1)
    request.onupgradeneeded = () => request.result.createObjectStore('junk', { autoIncrement: true })
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
  const fits = (bytes) => new Promise((resolve) => {
    const transaction = database.transaction('junk', 'readwrite', { durability: 'strict' })
    transaction.objectStore('junk').put(crypto.getRandomValues(new Uint8Array(bytes)))
    transaction.oncomplete = () => resolve(true)
    transaction.onabort = () => resolve(false)
  })
  for (let bytes = 65_536; bytes >= 16; bytes /= 4) while (await fits(bytes));
  database.close()
}"""


@pytest.fixture
def cramped(new_person: NewPerson, number: int) -> tuple[Person, Person, CDPSession]:
    """Alice, in a browser that gives this site little room, and her friend Bob."""
    alice, bob = new_person(f"Alice{number}"), new_person(f"Bobby{number}")
    alice.page.goto("/about/")
    session = alice.context.new_cdp_session(alice.page)
    session.send("Storage.overrideQuotaForOrigin", {"origin": alice.origin, "quotaSize": ROOM_BYTES})
    alice.sign_up()
    bob.sign_up()
    alice.befriend(bob)
    return alice, bob, session


def make_room(alice: Person, session: CDPSession) -> None:
    session.send("Storage.overrideQuotaForOrigin", {"origin": alice.origin})


def test_a_browser_without_room_says_so_and_keeps_the_text_in_the_composer(
    cramped: tuple[Person, Person, CDPSession], server: LiveServer
) -> None:
    alice, bob, session = cramped
    alice.open_chat(bob)
    alice.send(bob, "before")
    alice.expect_stored(bob, "before")
    composer = alice.composer(bob)
    text = "A text that nobody wants to type twice"

    alice.page.evaluate(FILL)
    alice.send(bob, text)

    expect(alice.page.get_by_text("Not sent: this browser has no room left")).to_be_visible()
    expect(composer).to_have_value(text)
    expect(alice.page.locator(".banner").filter(has_text="This browser has no room left")).to_be_visible()
    problems = look(alice, "no-room")
    bob.open_chat(alice)
    bob.send(alice, "Can you still read?")
    alice.expect_message(bob, "Can you still read?")

    make_room(alice, session)
    composer.press("Enter")

    bob.expect_message(alice, text)
    expect(composer).to_have_value("")
    expect(alice.page.locator(".banner")).to_have_count(0)
    assert texts_read_by(server, bob, alice) == ["before", "Can you still read?", text]
    expect_no_alarm(alice.page, bob.page)
    assert problems == []


def test_a_browser_that_fills_up_under_a_page_goes_on_reading_and_sends_what_waits(
    cramped: tuple[Person, Person, CDPSession], server: LiveServer, proxy: RecordingProxy
) -> None:
    alice, bob, session = cramped
    alice.open_chat(bob)
    alice.send(bob, "before")
    alice.expect_stored(bob, "before")
    address = alice.page.url
    with cut_off(proxy):
        write_without_network(alice, bob, ["waits"])
        alice.page.evaluate(FILL)
        leave(alice)

    alice.page.goto(address)

    alice.expect_message(bob, "before")
    expect(alice.page.locator(".banner").filter(has_text="This browser has no room left")).to_be_visible()
    bob.open_chat(alice)
    bob.send(alice, "after")
    alice.expect_message(bob, "after")
    make_room(alice, session)
    bob.expect_message(alice, "waits")
    assert sorted(texts_read_by(server, bob, alice)) == ["after", "before", "waits"]
    expect_no_alarm(alice.page)
