"""Taking one's data along, deleting one's account, and what friends see of it, whoever of the two had asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import RESULTS
from tests.e2e.person import STRETCH_TIMEOUT_MS, Person

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("asked", [True, False], ids=["who_asked_goes", "who_was_asked_goes"])
def test_a_deleted_account_and_what_the_friend_keeps(new_person: Callable[..., Person], asked: bool) -> None:
    number = 1 if asked else 2
    alice, bob = new_person(f"AliceStays{number}"), new_person(f"BobbyGoes{number}")
    alice.sign_up()
    bob.sign_up()
    if asked:
        bob.befriend(alice)
    else:
        alice.befriend(bob)
    alice.open_chat(bob)
    alice.send(bob, "Are you there?")
    bob.open_chat(alice)
    bob.expect_message(alice, "Are you there?")
    bob.send(alice, "Not for long.")
    alice.expect_message(bob, "Not for long.")

    delete_account(bob)

    room = alice.page.get_by_role("region", name=bob.name)
    expect(room.get_by_text("This account no longer exists.")).to_be_visible()
    expect(alice.page.get_by_role("textbox", name="Message")).to_have_count(0)
    alice.screenshot(RESULTS / f"deleted-friend-{number}.png")

    # In a browser that has never seen any of it the history is whole, and no alarm.
    again = new_person(alice.name, alice.password)
    again.log_in()
    again.page.goto("/chat/")
    again.page.get_by_role("link", name=bob.name).click()
    again.expect_message(bob, "Not for long.")
    again.expect_message(bob, "Are you there?")
    expect(again.page.locator(".banner-alarm")).to_have_count(0)

    bob.page.goto("/log-in/")
    bob.fill_log_in()
    expect(bob.page.get_by_text("Username or password is incorrect.")).to_be_visible(
        timeout=STRETCH_TIMEOUT_MS
    )


def delete_account(person: Person) -> None:
    page = person.page
    page.goto("/settings/")
    page.get_by_role("main").get_by_role("link", name="Your data", exact=True).click()
    form = page.locator("#delete-form")
    form.get_by_label("Your username, to confirm").fill("somebody")
    form.get_by_label("Your password").fill(person.password)
    form.get_by_role("button", name="Delete my account").click()
    expect(form.get_by_text(f"Type {person.name}").first).to_be_visible()
    form.get_by_label("Your username, to confirm").fill(person.name)
    person.screenshot(RESULTS / f"own-data-{person.name}.png")
    form.get_by_role("button", name="Delete my account").click()
    expect(page.get_by_text("Your account is deleted.")).to_be_visible(timeout=STRETCH_TIMEOUT_MS)


def test_the_file_with_ones_data(new_person: Callable[..., Person], tmp_path: Path) -> None:
    person = new_person("TakesAlong")
    person.sign_up()
    page = person.page
    page.goto("/settings/data/")
    form = page.locator("#export-form")
    form.get_by_label("Your password").fill("Wr0ng#password")
    form.get_by_role("button", name="Save the file").click()
    expect(form.get_by_text("That is not your current password.").first).to_be_visible(
        timeout=STRETCH_TIMEOUT_MS
    )

    form.get_by_label("Your password").fill(person.password)
    with page.expect_download(timeout=STRETCH_TIMEOUT_MS) as saved:
        form.get_by_role("button", name="Save the file").click()

    path = tmp_path / "own.json"
    saved.value.save_as(path)
    assert json.loads(path.read_text())["account"][0]["username"] == "TakesAlong"
    assert person.password not in path.read_text()


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (1280, "dark")])
def test_how_the_page_looks(new_person: Callable[..., Person], width: int, scheme: str) -> None:
    person = new_person(f"OwnData{width}", viewport={"width": width, "height": 900}, color_scheme=scheme)
    person.sign_up()
    person.page.goto("/settings/data/")
    expect(person.page.get_by_role("button", name="Delete my account")).to_be_enabled()
    assert person.page.evaluate("document.documentElement.scrollWidth") <= width
    person.page.screenshot(path=RESULTS / f"own-data-{width}-{scheme}.png", full_page=True)
