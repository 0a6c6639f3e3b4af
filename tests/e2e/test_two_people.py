"""Two people in two real browsers, from sign-up to log-out."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.person import STRETCH_TIMEOUT_MS, Person
from tests.e2e.recording_proxy import RecordingProxy
from tests.live_server import LiveServer

pytestmark = pytest.mark.e2e

NewPerson = Callable[..., Person]


def test_two_people_sign_up_befriend_and_chat_both_ways(friends: tuple[Person, Person]) -> None:
    alice, bob = friends

    bob.open_chat(alice)
    alice.open_chat(bob, button="Chat")
    alice.send(bob, "Hello Bob, can you read this?")
    bob.expect_message(alice, "Hello Bob, can you read this?")
    bob.send(alice, "Every word of it.")
    alice.expect_message(bob, "Every word of it.")

    expect(alice.page.get_by_text(f"You are talking to {bob.name}")).to_be_visible()


def test_the_sender_sees_that_a_message_was_stored_and_then_that_it_arrived(
    friends: tuple[Person, Person],
) -> None:
    alice, bob = friends
    alice.open_chat(bob)

    alice.send(bob, "Are you there?")

    mine = alice.message(bob, "Are you there?")
    expect(mine).to_contain_text("Sent")
    bob.open_chat(alice)
    bob.expect_message(alice, "Are you there?")
    expect(mine).to_contain_text(
        re.compile("Delivered|Read")
    )  # Bob looks at it, so the one becomes the other.


def test_a_message_to_an_offline_friend_arrives_later(friends: tuple[Person, Person]) -> None:
    alice, bob = friends
    bob.page.goto("about:blank")

    alice.open_chat(bob, button="Leave a message")
    alice.send(bob, "Read this when you are back.")
    alice.expect_sent(bob, "Read this")

    bob.open_chat(alice)
    bob.expect_message(alice, "Read this when you are back.")


def test_a_reload_shows_the_same_conversation_again(friends: tuple[Person, Person]) -> None:
    alice, bob = friends
    alice.open_chat(bob)
    for number in range(3):
        alice.send(bob, f"Message number {number}")
    expect(alice.log(bob).get_by_text("Message number 2")).to_be_visible()

    alice.page.reload()

    for number in range(3):
        expect(alice.log(bob).get_by_text(f"Message number {number}")).to_have_count(1)


def test_a_second_browser_reads_all_history(
    friends: tuple[Person, Person], browser: Browser, new_person: NewPerson
) -> None:
    alice, bob = friends
    alice.open_chat(bob)
    alice.send(bob, "Written in the first browser")
    bob.open_chat(alice)
    bob.send(alice, "And answered")
    alice.expect_message(bob, "And answered")

    second = new_person(alice.name)
    second.log_in()
    second.open_chat(bob)

    second.expect_message(bob, "Written in the first browser")
    second.expect_message(bob, "And answered")
    second.send(bob, "Written in the second")
    bob.expect_message(alice, "Written in the second")
    alice.expect_message(bob, "Written in the second")


def test_the_recovery_code_brings_back_every_message(
    friends: tuple[Person, Person], new_person: NewPerson
) -> None:
    alice, bob = friends
    alice.open_chat(bob)
    alice.send(bob, "Older than the new password")
    expect(alice.log(bob).get_by_text("Older than the new password")).to_be_visible()

    forgetful = new_person(alice.name, "N3w-Secret!")
    page = forgetful.page
    page.goto("/recover/")
    page.get_by_label("Username").fill(alice.name)
    page.locator("#code").fill(alice.recovery_code.lower().replace("-", " "))
    page.get_by_label("New password", exact=True).fill(forgetful.password)
    page.get_by_role("button", name="Set the new password").click()
    forgetful.keep_recovery_code()
    forgetful.open_chat(bob)

    forgetful.expect_message(bob, "Older than the new password")
    assert forgetful.recovery_code != alice.recovery_code


def test_a_changed_password_opens_everything_and_the_old_one_nothing(
    friends: tuple[Person, Person], new_person: NewPerson
) -> None:
    alice, bob = friends
    alice.open_chat(bob)
    alice.send(bob, "Before the change")
    alice.expect_sent(bob, "Before the change")
    page = alice.page
    page.goto("/settings/")
    form = page.locator("#password-form")
    form.get_by_label("Current password").fill(alice.password)
    form.get_by_label("New password", exact=True).fill("N3w-Secret!")
    form.get_by_role("button", name="Change the password").click()
    expect(page.get_by_text("Your password is changed")).to_be_visible(timeout=STRETCH_TIMEOUT_MS)

    old, new = new_person(alice.name, alice.password), new_person(alice.name, "N3w-Secret!")
    old.fill_log_in()
    expect(old.page.get_by_text("Username or password is incorrect.").first).to_be_visible(
        timeout=STRETCH_TIMEOUT_MS
    )
    new.log_in()
    new.open_chat(bob)
    new.expect_message(bob, "Before the change")


def test_logging_out_takes_the_keys_along_and_closes_the_pages(friends: tuple[Person, Person]) -> None:
    alice, bob = friends
    alice.open_chat(bob)
    other_tab = alice.new_tab()
    other_tab.goto(alice.page.url)
    expect(alice.composer(bob, page=other_tab)).to_be_visible()

    alice.log_out()

    expect(other_tab.get_by_text("You were signed out on this browser.")).to_be_visible(timeout=10_000)
    alice.page.goto("/chat/")
    expect(alice.page).to_have_url(re.compile("/log-in/"))
    assert "securechat-" not in alice.page.evaluate(
        "async () => (await indexedDB.databases()).map((each) => each.name + ':').join()"
    ) or alice.page.evaluate(
        """async () => {
          const names = (await indexedDB.databases()).map((each) => each.name)
          for (const name of names) {
            const open = await new Promise((done) => { const r = indexedDB.open(name); r.onsuccess = () => done(r.result) })
            for (const store of open.objectStoreNames) {
              if (store === 'device') continue
              const count = await new Promise((done) => {
                const r = open.transaction(store).objectStore(store).count(); r.onsuccess = () => done(r.result)
              })
              if (count > 0) return false
            }
          }
          return true
        }"""
    )


def test_two_tabs_of_one_person_send_at_once_and_both_see_everything_once(
    friends: tuple[Person, Person],
) -> None:
    alice, bob = friends
    alice.open_chat(bob)
    bob.open_chat(alice)
    second = alice.new_tab()
    second.goto(alice.page.url)
    expect(alice.composer(bob, page=second)).to_be_visible()

    for number in range(10):
        alice.send(bob, f"first {number}")
        alice.send(bob, f"second {number}", page=second)

    for page, reader, writer in ((alice.page, alice, bob), (second, alice, bob), (bob.page, bob, alice)):
        for number in range(10):
            expect(reader.log(writer, page=page).get_by_text(f"first {number}", exact=True)).to_have_count(1)
            expect(reader.log(writer, page=page).get_by_text(f"second {number}", exact=True)).to_have_count(1)
    expect(bob.page.locator(".banner-alarm")).to_have_count(0)


def test_a_message_written_without_a_network_is_sent_when_it_is_back(
    friends: tuple[Person, Person], proxy: RecordingProxy
) -> None:
    alice, bob = friends
    alice.open_chat(bob)
    alice.send(bob, "With a network")
    alice.expect_sent(bob, "With a network")

    proxy.cut()
    alice.send(bob, "Without a network")
    expect(alice.message(bob, "Without a network")).to_contain_text("Waiting")
    proxy.mend()

    alice.expect_sent(bob, "Without a network")
    bob.open_chat(alice)
    bob.expect_message(alice, "Without a network")


def test_the_outbox_survives_a_reload_and_a_killed_server(
    friends: tuple[Person, Person], server: LiveServer
) -> None:
    alice, bob = friends
    alice.open_chat(bob)
    expect(alice.page.get_by_text("Connecting…")).to_be_hidden()

    server.kill()
    alice.send(bob, "Kept over the crash")
    expect(alice.message(bob, "Kept over the crash")).to_contain_text("Waiting")
    server.start()
    alice.page.reload()

    alice.expect_sent(bob, "Kept over the crash")
    expect(alice.log(bob).get_by_text("Kept over the crash", exact=True)).to_have_count(1)


def test_presence_follows_a_friend_who_comes_and_goes(friends: tuple[Person, Person]) -> None:
    alice, bob = friends
    alice.page.goto("/friends/")
    row = alice.page.get_by_role("listitem").filter(has_text=bob.name)

    bob.page.goto("/friends/")
    expect(row.get_by_text("Online", exact=True)).to_be_visible()
    bob.page.goto("about:blank")
    expect(row.get_by_text("Offline", exact=True)).to_be_visible()


def test_unfriending_closes_the_conversation_and_keeps_its_history(friends: tuple[Person, Person]) -> None:
    alice, bob = friends
    alice.open_chat(bob)
    alice.send(bob, "Last words")
    bob.open_chat(alice)
    bob.expect_message(alice, "Last words")

    other = alice.new_tab()
    other.goto("/friends/")
    row = other.get_by_role("listitem").filter(has_text=bob.name)
    row.locator("summary").click()
    row.get_by_role("link", name="Unfriend").click()
    other.get_by_role("main").get_by_role("button", name="Unfriend").click()

    expect(bob.page.get_by_text("You can no longer send messages in this conversation.")).to_be_visible()
    bob.expect_message(alice, "Last words")


def test_an_ended_session_keeps_the_draft(friends: tuple[Person, Person]) -> None:
    alice, bob = friends
    alice.open_chat(bob)
    alice.composer(bob).fill("Half a sentence")
    room = alice.page.url

    alice.page.wait_for_timeout(1500)
    alice.context.clear_cookies()
    alice.page.reload()
    expect(alice.page).to_have_url(re.compile("/log-in/"))
    alice.log_in(expect_url=room)

    expect(alice.composer(bob)).to_have_value("Half a sentence")
