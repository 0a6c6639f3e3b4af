"""The ways back into an account, what locks it, and the link that says who somebody is."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e.person import STRETCH_TIMEOUT_MS, Person, set_password_on_the_server
from tests.live_server import LiveServer

pytestmark = pytest.mark.e2e

NewPerson = Callable[..., Person]
SIX_MINUTES_MS = 6 * 60_000


@pytest.fixture
def friends(talking: tuple[Person, Person]) -> tuple[Person, Person]:
    """Alice and Bob, each in the conversation with the other, with one message between them."""
    alice, bob = talking
    alice.send(bob, "From before")
    bob.expect_message(alice, "From before")
    return alice, bob


def compare(person: Person) -> None:
    """Says that the safety numbers match, and closes the details."""
    person.verify()
    person.page.keyboard.press("Escape")


def wipe(person: Person, *, cookies: bool = True) -> None:
    """As somebody does who clears this site's data."""
    person.page.goto("/about/")
    person.page.evaluate(
        """async () => {
          localStorage.clear()
          for (const { name } of await indexedDB.databases()) {
            await new Promise((done) => {
              const asked = indexedDB.deleteDatabase(name)
              asked.onsuccess = asked.onerror = done
            })
          }
        }"""
    )
    if cookies:
        person.context.clear_cookies()


def start_fresh(person: Person) -> None:
    page = person.page
    person.fill_log_in()
    expect(page.get_by_role("heading", name="Your password does not open your keys")).to_be_visible(
        timeout=STRETCH_TIMEOUT_MS
    )
    page.get_by_role("button", name="Start fresh").click()
    page.get_by_label("Type your username to confirm").fill(person.name.lower())
    page.get_by_role("button", name="Start fresh", exact=True).click()
    person.keep_recovery_code()


def test_somebody_who_knows_the_password_is_locked_out(
    friends: tuple[Person, Person], new_person: NewPerson
) -> None:
    alice, bob = friends
    intruder = new_person(alice.name)
    intruder.log_in()
    intruder.open_chat(bob)
    page = alice.page
    page.goto("/settings/")
    page.get_by_label("Current password").fill(alice.password)
    page.get_by_label("New password", exact=True).fill("0ther-Secret!")
    page.get_by_label("Somebody else may know my password").check()

    page.get_by_role("button", name="Change the password").click()

    changed = page.get_by_text("Your password is changed and your keys are renewed.")
    expect(changed).to_be_visible(timeout=STRETCH_TIMEOUT_MS)
    expect(intruder.page.get_by_text("You were signed out on this browser.")).to_be_visible()
    alice.open_chat(bob)
    bob.send(alice, "Is it you alone?")
    alice.expect_message(bob, "Is it you alone?")
    alice.send(bob, "Yes")
    bob.expect_message(alice, "Yes")
    expect(bob.page.locator(".banner")).to_have_count(0)
    expect(intruder.log(bob).get_by_text("Is it you alone?")).to_have_count(0)
    intruder.page.goto("/log-in/")
    intruder.fill_log_in()
    expect(intruder.page.locator("#account-form [data-error-summary]")).to_be_visible(
        timeout=STRETCH_TIMEOUT_MS
    )
    expect(intruder.page).to_have_url(re.compile("/log-in/"))


def test_a_wiped_browser_comes_back_with_the_password(friends: tuple[Person, Person]) -> None:
    alice, bob = friends
    compare(alice)
    # What was compared is in the vault before the browser is wiped.
    expect(alice.page.get_by_role("link", name=bob.name)).to_contain_text("Verified")
    wipe(alice)

    alice.log_in()
    alice.open_chat(bob)

    alice.expect_message(bob, "From before")
    expect(alice.lock).to_contain_text("Encrypted · verified")
    alice.send(bob, "Back again")
    bob.expect_message(alice, "Back again")


def test_a_wiped_browser_comes_back_with_the_code(friends: tuple[Person, Person]) -> None:
    alice, bob = friends
    used = alice.recovery_code
    wipe(alice)
    alice.password = "Rec0vered-it!"
    page = alice.page
    page.goto("/recover/")
    page.get_by_label("Username").fill(alice.name)
    page.get_by_label("Recovery code", exact=True).fill(used)
    page.get_by_label("New password", exact=True).fill(alice.password)
    page.get_by_role("button", name="Set the new password").click()
    alice.keep_recovery_code()

    alice.open_chat(bob)

    alice.expect_message(bob, "From before")
    assert alice.recovery_code != used
    alice.send(bob, "Back with the code")
    bob.expect_message(alice, "Back with the code")


def test_keys_gone_but_still_logged_in_are_brought_back_where_one_was(
    friends: tuple[Person, Person],
) -> None:
    alice, bob = friends
    room = alice.page.url
    wipe(alice, cookies=False)
    alice.page.goto(room)

    alice.page.get_by_role("button", name="Sign in again").click()
    alice.fill_log_in()

    expect(alice.page).to_have_url(room, timeout=STRETCH_TIMEOUT_MS)
    alice.expect_message(bob, "From before")


def test_a_new_recovery_code_replaces_the_old_one(friends: tuple[Person, Person]) -> None:
    alice, _ = friends
    old, page = alice.recovery_code, alice.page
    page.goto("/settings/")
    page.get_by_label("Lost it? Enter your password for a new one").fill(alice.password)
    page.get_by_role("button", name="Make a new recovery code").click()
    alice.keep_recovery_code()
    page.get_by_role("link", name="Back to settings").click()

    page.get_by_label("Do you still have it? Type it here").fill(old)
    page.get_by_role("button", name="Check the code").click()
    expect(page.get_by_text("That is not the recovery code of this account.").first).to_be_visible()
    page.get_by_label("Do you still have it? Type it here").fill(alice.recovery_code)
    page.get_by_role("button", name="Check the code").click()

    expect(page.get_by_text("That is your recovery code. Keep it safe.")).to_be_visible()


def test_who_lost_both_starts_fresh_and_a_friend_is_told(
    friends: tuple[Person, Person], server: LiveServer
) -> None:
    alice, bob = friends
    wipe(alice)
    set_password_on_the_server(server, alice, "Fr0m-the-operator")

    start_fresh(alice)
    alice.open_chat(bob)

    expect(
        alice.log(bob).get_by_text("1 message from before you started over cannot be read.")
    ).to_be_visible()
    expect(bob.log(alice).get_by_text(f"{alice.name} started over with new keys on")).to_be_visible()
    bob.expect_message(alice, "From before")
    bob.send(alice, "Welcome back")
    alice.expect_message(bob, "Welcome back")
    alice.send(bob, "Thank you")
    bob.expect_message(alice, "Thank you")
    for person in (alice, bob):
        expect(person.page.locator(".banner-alarm")).to_have_count(0)


def test_a_friend_who_had_compared_has_to_compare_again(
    friends: tuple[Person, Person], server: LiveServer
) -> None:
    alice, bob = friends
    compare(bob)
    wipe(alice)
    set_password_on_the_server(server, alice, "Fr0m-the-operator")

    start_fresh(alice)
    alice.open_chat(bob)

    expect(bob.lock).to_contain_text("Safety number changed")
    expect(bob.composer(alice)).to_have_count(0)
    compare(bob)
    bob.send(alice, "It is you")
    alice.expect_message(bob, "It is you")


def test_starting_fresh_asks_for_the_name_and_can_be_left(
    friends: tuple[Person, Person], server: LiveServer
) -> None:
    alice, bob = friends
    code = alice.recovery_code
    wipe(alice)
    set_password_on_the_server(server, alice, "Fr0m-the-operator")
    page = alice.page
    alice.fill_log_in()
    page.get_by_role("button", name="Start fresh").click(timeout=STRETCH_TIMEOUT_MS)
    page.get_by_label("Type your username to confirm").fill(bob.name)
    page.get_by_role("button", name="Start fresh", exact=True).click()
    expect(page.get_by_text(f"Type {alice.name} to start fresh.").first).to_be_visible()

    page.get_by_role("button", name="Go back").click()
    page.get_by_role("link", name="Use the recovery code").click()
    expect(page.get_by_label("Username")).to_have_value(alice.name)
    page.get_by_label("Recovery code", exact=True).fill(code)
    alice.password = "Rec0vered-it!"
    page.get_by_label("New password", exact=True).fill(alice.password)
    page.get_by_role("button", name="Set the new password").click()
    alice.keep_recovery_code()

    alice.open_chat(bob)
    alice.expect_message(bob, "From before")


def test_a_browser_that_nobody_used_locks_and_keeps_the_draft(friends: tuple[Person, Person]) -> None:
    alice, bob = friends
    room = alice.page.url
    alice.page.goto("/settings/")
    alice.page.get_by_label("Lock this browser by itself").select_option("After 5 minutes")
    expect(alice.page.locator("#lock-status")).to_have_text("Kept in this browser.")
    alice.page.clock.install()
    alice.page.goto(room)
    alice.composer(bob).fill("Half a sentence")

    alice.page.clock.fast_forward(SIX_MINUTES_MS)

    expect(alice.page.get_by_text("SecureChat is locked in this browser.")).to_be_visible()
    expect(alice.page.get_by_label("Username", exact=True)).to_have_value(alice.name)
    alice.page.goto(room)
    expect(alice.page.get_by_text("SecureChat is locked in this browser.")).to_be_visible()
    alice.fill_log_in()
    expect(alice.page).to_have_url(room, timeout=STRETCH_TIMEOUT_MS)
    expect(alice.composer(bob)).to_have_value("Half a sentence")
    alice.expect_message(bob, "From before")


def test_a_browser_that_was_closed_too_long_is_locked_when_it_comes_back(
    friends: tuple[Person, Person],
) -> None:
    alice, _ = friends
    room = alice.page.url
    alice.page.goto("/settings/")
    alice.page.get_by_label("Lock this browser by itself").select_option("After 15 minutes")
    # No page of SecureChat that could see somebody is open any more.
    alice.page.goto("about:blank")
    blank = alice.new_tab()
    alice.page.close()
    blank.route("**/past", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    blank.goto("/past")
    past = int(time.time() * 1000) - 3 * SIX_MINUTES_MS
    blank.evaluate(f"localStorage.setItem('last-seen', '{past}')")
    alice.page = blank

    blank.goto(room)

    expect(blank.get_by_text("SecureChat is locked in this browser.")).to_be_visible()


def test_it_is_locked_at_once_in_every_tab(friends: tuple[Person, Person]) -> None:
    alice, bob = friends
    settings = alice.new_tab()
    settings.goto("/settings/")

    settings.get_by_role("button", name="Lock now").click()

    for page in (settings, alice.page):
        expect(page.get_by_text("SecureChat is locked in this browser.")).to_be_visible()
    alice.fill_log_in()
    alice.expect_message(bob, "From before")
    # The other tab goes along: the password was typed once.
    expect(settings.get_by_role("heading", name="Settings")).to_be_visible()


def my_link(person: Person) -> str:
    person.page.goto("/settings/")
    link = person.page.locator("#my-link-text")
    expect(link).to_contain_text(f"/add/{person.name}#")
    return link.inner_text()


def add_by_link(person: Person, link: str) -> None:
    person.page.goto(link)
    expect(person.page.get_by_text("the safety number counts as compared")).to_be_visible()
    person.page.get_by_role("button", name="Send friend request").click()
    expect(person.page.get_by_text("Friend request sent!")).to_be_visible()


@pytest.fixture
def strangers(new_person: NewPerson, number: int) -> tuple[Person, Person]:
    """Two who signed up and have not met."""
    alice = new_person(f"Alice{number}", permissions=["clipboard-read", "clipboard-write"])
    bob = new_person(f"Bobby{number}")
    alice.sign_up()
    bob.sign_up()
    return alice, bob


def test_a_friend_added_by_link_is_verified_from_the_start(strangers: tuple[Person, Person]) -> None:
    alice, bob = strangers
    link = my_link(alice)
    alice.page.get_by_role("button", name="Copy the link").click()
    expect(alice.page.get_by_text("Copied", exact=True)).to_be_visible()
    assert alice.page.evaluate("navigator.clipboard.readText()") == link
    alice.page.get_by_role("button", name="Show the QR code").click()
    expect(alice.page.get_by_role("img", name="QR code of your link")).to_be_visible()

    add_by_link(bob, link)
    alice.approve(bob)
    bob.open_chat(alice)

    expect(bob.lock).to_contain_text("Encrypted · verified")
    alice.open_chat(bob)
    expect(alice.lock).not_to_contain_text("verified")
    bob.send(alice, "I knew that it was you")
    alice.expect_message(bob, "I knew that it was you")


def test_a_link_that_names_somebody_else_raises_the_alarm(strangers: tuple[Person, Person]) -> None:
    alice, bob = strangers
    link, fingerprint = my_link(alice), my_link(bob).split("#")[1]

    add_by_link(bob, f"{link.split('#')[0]}#{fingerprint}")
    alice.approve(bob)
    bob.page.goto("/chat/")
    bob.page.get_by_role("link", name=alice.name).click()

    expect(bob.page.get_by_text("Not who the link named.")).to_be_visible()
    expect(bob.composer(alice)).to_have_count(0)


def test_a_damaged_link_says_so_and_the_request_can_be_sent(strangers: tuple[Person, Person]) -> None:
    alice, bob = strangers

    bob.page.goto(my_link(alice)[:-3])

    expect(bob.page.get_by_text("This link is damaged")).to_be_visible()
    bob.page.get_by_role("button", name="Send friend request").click()
    expect(bob.page.get_by_text("Friend request sent!")).to_be_visible()


def test_a_stranger_signs_up_by_a_link_and_the_friend_is_verified(
    strangers: tuple[Person, Person], new_person: NewPerson
) -> None:
    alice, bob = strangers
    carol = new_person(bob.name.replace("Bobby", "Carol"))
    page = carol.page
    page.goto(my_link(alice))
    page.get_by_role("main").get_by_role("link", name="Sign up").click()
    page.get_by_label("Username").fill(carol.name)
    page.get_by_label("Password", exact=True).fill(carol.password)
    page.get_by_role("button", name="Sign up").click()
    carol.keep_recovery_code()
    page.locator("#recovery-done-link").click()
    expect(page.get_by_text("the safety number counts as compared")).to_be_visible()
    page.get_by_role("button", name="Send friend request").click()
    expect(page.get_by_text("Friend request sent!")).to_be_visible()
    alice.approve(carol)

    carol.open_chat(alice)

    expect(carol.lock).to_contain_text("Encrypted · verified")
