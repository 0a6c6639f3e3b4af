"""Two browsers of one person: who is on the list, and what happens when one of them is signed out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import RESULTS
from tests.e2e.person import STRETCH_TIMEOUT_MS, Person
from tests.e2e.recording_proxy import RecordingProxy
from tests.live_server import LiveServer

pytestmark = pytest.mark.e2e

NewPerson = Callable[..., Person]
STANDING = ".browsers > li"


@pytest.fixture
def second(talking: tuple[Person, Person], new_person: NewPerson) -> Person:
    """Alice in another browser, in the conversation with Bob, where one message was read."""
    alice, bob = talking
    alice.send(bob, "Before")
    bob.expect_message(alice, "Before")
    other = new_person(alice.name)
    other.log_in()
    other.open_chat(bob)
    other.expect_message(bob, "Before")
    return other


def browsers(person: Person) -> Any:
    """The rows of the list, once it was checked."""
    person.page.goto("/browsers/")
    place = person.page.locator("#browsers")
    expect(place).not_to_have_attribute("aria-busy", "true")
    return person.page.locator(STANDING)


def other_browser(person: Person) -> Any:
    return browsers(person).filter(has_not=person.page.get_by_text("This browser"))


def confirm(person: Person, button: str) -> None:
    dialog = person.page.get_by_role("dialog")
    dialog.get_by_label("Your password").fill(person.password)
    dialog.get_by_role("button", name=button).click()
    expect(dialog).to_be_hidden(timeout=STRETCH_TIMEOUT_MS)


def sign_out_the_other(person: Person) -> None:
    other_browser(person).get_by_role("button", name="Sign out").click()
    confirm(person, "Sign it out")
    expect(person.page.get_by_text("That browser is signed out, and your keys are renewed.")).to_be_visible()


def number_of_epochs(server: LiveServer, conversation: str) -> int:
    query = (
        "from messaging.models import EpochRecord; "
        f"print(EpochRecord.objects.filter(conversation__pk='{conversation}').count())"
    )
    return int(server.manage("shell", "-v", "0", "-c", query))


def conversation_of(person: Person) -> str:
    found = re.search(r"/chat/([0-9a-f-]{36})/", person.page.url)
    assert found is not None
    return found[1]


def stored_keys(person: Person) -> int:
    """How many accounts this browser holds keys of."""
    return int(
        person.page.evaluate(
            """async () => {
              let held = 0
              for (const { name } of await indexedDB.databases()) {
                const database = await new Promise((done) => {
                  const asked = indexedDB.open(name)
                  asked.onsuccess = () => done(asked.result)
                })
                if (database.objectStoreNames.contains('account')) {
                  held += await new Promise((done) => {
                    const asked = database.transaction('account').objectStore('account').count()
                    asked.onsuccess = () => done(asked.result)
                  })
                }
                database.close()
              }
              return held
            }"""
        )
    )


def test_the_list_says_which_browsers_there_are(talking: tuple[Person, Person], second: Person) -> None:
    alice, _ = talking

    rows = browsers(alice)

    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("This browser")
    expect(rows.nth(1)).not_to_contain_text("This browser")
    for row in rows.all():
        expect(row.get_by_role("heading")).to_contain_text("Chromium on Linux")
        expect(row).to_contain_text("from 127.0.0.1")
        expect(row).to_contain_text(re.compile(r"since \w+ \d+, \d{4}"))
    expect(rows.nth(0).get_by_role("button")).to_have_count(0)
    expect(rows.nth(1).get_by_role("button", name="Sign out")).to_be_visible()


def test_a_browser_that_is_signed_out_reads_and_writes_no_more(
    talking: tuple[Person, Person], second: Person, server: LiveServer
) -> None:
    alice, bob = talking
    conversation = conversation_of(bob)
    epochs = number_of_epochs(server, conversation)

    sign_out_the_other(alice)

    expect(second.page.get_by_text("You were signed out on this browser.")).to_be_visible()
    expect(alice.page.locator(STANDING)).to_have_count(1)
    expect(alice.page.locator(".browsers-ended")).to_contain_text("1 browser was signed out")
    alice.open_chat(bob)
    alice.send(bob, "Only for you")
    bob.expect_message(alice, "Only for you")
    bob.send(alice, "And back")
    alice.expect_message(bob, "And back")
    assert number_of_epochs(server, conversation) > epochs
    for honest in (alice, bob):
        expect(honest.page.locator(".banner")).to_have_count(0)
        expect(honest.lock).to_contain_text("Encrypted")
    expect(second.log(bob).get_by_text("And back")).to_have_count(0)
    second.page.reload()
    expect(second.page).to_have_url(re.compile("/log-in/"))
    assert stored_keys(second) == 0


def test_a_browser_that_was_signed_out_comes_back_with_the_password(
    talking: tuple[Person, Person], second: Person
) -> None:
    alice, bob = talking
    sign_out_the_other(alice)
    second.page.get_by_role("button", name="Sign in").click()

    second.fill_log_in()

    expect(second.composer(bob)).to_be_visible(timeout=STRETCH_TIMEOUT_MS)
    second.expect_message(bob, "Before")
    second.send(bob, "Here again")
    bob.expect_message(alice, "Here again")
    expect(browsers(alice)).to_have_count(2)


def test_a_wrong_password_signs_nobody_out(talking: tuple[Person, Person], second: Person) -> None:
    alice, bob = talking
    other_browser(alice).get_by_role("button", name="Sign out").click()
    dialog = alice.page.get_by_role("dialog")

    dialog.get_by_label("Your password").fill("Not-my-passw0rd")
    dialog.get_by_role("button", name="Sign it out").click()

    expect(dialog.locator("#revoke-password-error")).to_have_text(
        "That is not your current password.", timeout=STRETCH_TIMEOUT_MS
    )
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()
    second.send(bob, "Still here")
    bob.expect_message(alice, "Still here")


def test_everywhere_else_is_signed_out_at_once(
    talking: tuple[Person, Person], second: Person, new_person: NewPerson
) -> None:
    alice, bob = talking
    third = new_person(alice.name)
    third.log_in()
    third.open_chat(bob)
    expect(browsers(alice)).to_have_count(3)

    alice.page.get_by_role("button", name="Sign out everywhere else").click()
    confirm(alice, "Sign them all out")

    for other in (second, third):
        expect(other.page.get_by_text("You were signed out on this browser.")).to_be_visible()
    expect(alice.page.locator(STANDING)).to_have_count(1)
    expect(alice.page.get_by_role("button", name="Sign out everywhere else")).to_be_disabled()
    alice.open_chat(bob)
    alice.send(bob, "Alone again")
    bob.expect_message(alice, "Alone again")


def test_the_third_browser_types_the_password_once_and_goes_on(
    talking: tuple[Person, Person], second: Person, new_person: NewPerson
) -> None:
    alice, bob = talking
    third = new_person(alice.name)
    third.log_in()
    third.open_chat(bob)
    rows = other_browser(alice)
    expect(rows).to_have_count(2)

    rows.nth(1).get_by_role("button", name="Sign out").click()
    confirm(alice, "Sign it out")

    expect(second.page.get_by_text("You were signed out on this browser.")).to_be_visible()
    third.page.get_by_role("button", name="Type the password").click()
    third.fill_log_in()
    expect(third.composer(bob)).to_be_visible(timeout=STRETCH_TIMEOUT_MS)
    third.send(bob, "With the new keys")
    bob.expect_message(alice, "With the new keys")
    expect(browsers(alice)).to_have_count(2)


def test_a_log_in_without_keys_is_shown_and_ended(
    talking: tuple[Person, Person], new_person: NewPerson
) -> None:
    alice, _ = talking
    half = new_person(alice.name)
    half.page.route("**/api/key-chain/", lambda route: route.abort())
    half.fill_log_in()
    expect(half.page.locator("#account-form [data-error-summary]")).to_be_visible(timeout=STRETCH_TIMEOUT_MS)
    half.page.goto("/friends/")
    expect(half.page.get_by_role("heading", name="Friend list")).to_be_visible()
    row = browsers(alice).filter(has_text="Logged in without keys")
    expect(row).to_have_count(1)

    row.get_by_role("button", name="Sign out").click()

    expect(alice.page.locator("#page-result")).to_contain_text("Signed out:")
    expect(alice.page.locator(STANDING)).to_have_count(1)
    expect(half.page.get_by_text("You were signed out on this browser.")).to_be_visible()
    half.page.goto("/friends/")
    expect(half.page).to_have_url(re.compile("/log-in/"))


@pytest.fixture
def impostor(talking: tuple[Person, Person], new_person: NewPerson) -> Person:
    """Somebody with Alice's password, whose log-in says that it is her browser, without its key."""
    alice, _ = talking
    other = new_person(alice.name)
    other.page.route("**/api/key-chain/", lambda route: route.abort())
    other.fill_log_in()
    expect(other.page.locator("#account-form [data-error-summary]")).to_be_visible(timeout=STRETCH_TIMEOUT_MS)
    other.page.goto("/settings/")
    status = other.page.evaluate(
        """async () => {
          const { browsers } = await (await fetch('/api/browsers/')).json()
          const device = browsers.find((one) => one.device !== null).device
          const token = document.querySelector('meta[name=csrf-token]').content
          const headers = { 'X-CSRFToken': token, 'Content-Type': 'application/json' }
          return (await fetch('/api/browsers/', { method: 'POST', headers, body: JSON.stringify({ device }) })).status
        }"""
    )
    assert status == 200
    other.page.goto("/friends/")
    expect(other.page.get_by_role("heading", name="Friend list")).to_be_visible()
    return other


def test_a_log_in_that_says_it_is_this_browser_is_shown_and_ended(
    talking: tuple[Person, Person], impostor: Person
) -> None:
    alice, _ = talking
    rows = browsers(alice)
    expect(rows).to_have_count(1)
    expect(rows.get_by_role("listitem")).to_have_count(2)
    expect(rows.get_by_role("listitem").filter(has_text="You, now").get_by_role("button")).to_have_count(0)
    assert alice.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    alice.screenshot(RESULTS / "browsers-impostor.png")

    rows.get_by_role("button", name="Sign out").click()

    expect(alice.page.locator("#page-result")).to_contain_text("Signed out:")
    expect(rows.get_by_role("listitem")).to_have_count(0)
    expect(impostor.page.get_by_text("You were signed out on this browser.")).to_be_visible()


def test_everywhere_else_is_also_who_says_to_be_this_browser(
    talking: tuple[Person, Person], impostor: Person
) -> None:
    alice, bob = talking
    browsers(alice)

    alice.page.get_by_role("button", name="Sign out everywhere else").click()
    confirm(alice, "Sign them all out")

    expect(impostor.page.get_by_text("You were signed out on this browser.")).to_be_visible()
    expect(alice.page.get_by_role("button", name="Sign out everywhere else")).to_be_disabled()
    alice.open_chat(bob)
    alice.send(bob, "Alone again")
    bob.expect_message(alice, "Alone again")


def test_who_logs_out_leaves_the_list_and_nothing_behind(
    talking: tuple[Person, Person], second: Person
) -> None:
    alice, bob = talking
    assert stored_keys(second) == 1

    second.log_out()

    assert records_of(second) == 0
    expect(browsers(alice)).to_have_count(1)
    ended = alice.page.locator(".browsers-ended")
    ended.get_by_text("1 browser was signed out").click()
    expect(ended).to_contain_text("Logged out there on")
    alice.open_chat(bob)
    alice.send(bob, "Still me")
    bob.expect_message(alice, "Still me")
    expect(bob.page.locator(".banner")).to_have_count(0)


def test_a_log_out_without_the_server_says_so_and_can_be_done_anyway(
    talking: tuple[Person, Person], second: Person, proxy: RecordingProxy
) -> None:
    alice, _ = talking
    second.page.goto("/log-out/")
    log_out = second.page.get_by_role("main").get_by_role("button", name="Log out")
    proxy.cut()
    try:
        log_out.click()
        expect(second.page.get_by_text("The server did not answer, so this browser stays")).to_be_visible()
        assert stored_keys(second) == 1
    finally:
        proxy.mend()
    second.page.get_by_role("button", name="Log out anyway").click()
    second.page.wait_for_url(lambda url: "log-out" not in url)

    assert records_of(second) == 0
    row = other_browser(alice)
    expect(row).to_contain_text("Nobody is logged in there now")
    row.get_by_role("button", name="Sign out").click()
    confirm(alice, "Sign it out")
    expect(alice.page.locator(STANDING)).to_have_count(1)


def records_of(person: Person) -> int:
    """How much of anybody this browser keeps."""
    return int(
        person.page.evaluate(
            """async () => {
              let records = 0
              for (const { name } of await indexedDB.databases()) {
                const database = await new Promise((done) => {
                  const asked = indexedDB.open(name)
                  asked.onsuccess = () => done(asked.result)
                })
                for (const store of database.objectStoreNames) {
                  records += await new Promise((done) => {
                    const asked = database.transaction(store).objectStore(store).count()
                    asked.onsuccess = () => done(asked.result)
                  })
                }
                database.close()
              }
              return records
            }"""
        )
    )
