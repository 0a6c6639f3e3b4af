"""From a message that hurts to what a moderator reads of it, and back to who reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import RESULTS
from tests.e2e.person import Person
from tests.e2e.test_accessibility import check_page
from tests.e2e.test_canary import forms_of
from tests.live_server import LiveServer

pytestmark = pytest.mark.e2e

NewPerson = Callable[..., Person]

HARMLESS = "See you on Thursday, as always."
HURTFUL = "You are a fool, and everybody knows it."
NOTE = "This goes on for weeks."
MAKE_STAFF = """
from django.contrib.auth.models import Permission
from accounts.models import User
user = User.objects.get_by_natural_key({name!r})
user.is_staff = True
user.save()
user.user_permissions.set(Permission.objects.filter(
    content_type__app_label="messaging", codename__in=["view_report", "resolve_report", "view_evidence"]
))
"""


@pytest.fixture
def reported(talking: tuple[Person, Person]) -> tuple[Person, Person]:
    """Alice wrote Bob something harmless and something that hurts."""
    alice, bob = talking
    for text in (HARMLESS, HURTFUL):
        alice.send(bob, text)
        bob.expect_message(alice, text)
    return alice, bob


def dialog_of(page: Page) -> Any:
    return page.get_by_role("dialog")


def open_report(bob: Person, alice: Person, text: str) -> Any:
    row = bob.message(alice, text)
    row.hover()
    row.get_by_role("button", name="Report…").click()
    dialog = dialog_of(bob.page)
    expect(dialog.get_by_role("heading", name=f"Report {alice.name}")).to_be_focused()
    return dialog


def report(bob: Person, alice: Person) -> None:
    dialog = open_report(bob, alice, HURTFUL)
    dialog.get_by_label("Harassment or insults").check()
    dialog.get_by_label("Anything that the operators should know").fill(NOTE)
    dialog.get_by_role("button", name="Continue").click()
    dialog.get_by_role("button", name="Send the report").click()
    expect(dialog.get_by_role("heading", name="The report is sent")).to_be_focused()


def moderator_of(new_person: NewPerson, server: LiveServer) -> Person:
    moderator = new_person("Moderator")
    moderator.sign_up()
    server.manage("shell", "-c", MAKE_STAFF.format(name=moderator.name))
    moderator.enrol_second_factor()
    return moderator


def test_a_message_is_reported_judged_and_the_reporter_is_told(
    reported: tuple[Person, Person], new_person: NewPerson, server: LiveServer
) -> None:
    alice, bob = reported
    with bob.page.expect_request("**/api/reports/") as request:
        report(bob, alice)

    sent = (request.value.post_data or "").encode()
    assert any(form in sent for form in forms_of(HURTFUL))
    assert not any(form in sent for form in forms_of(HARMLESS))
    moderator = moderator_of(new_person, server)
    page = moderator.page
    page.goto("/admin/messaging/report/")
    row = page.get_by_role("row").filter(has_text=alice.name)
    expect(row).to_contain_text("Harassment or insults")
    expect(row.get_by_role("img", name="True")).to_be_visible()
    row.get_by_role("link").first.click()
    expect(page.get_by_text(HURTFUL)).to_have_count(0)
    page.get_by_role("button", name="Open the evidence").click()
    expect(page.get_by_text(f"Verified: sent by {alice.name} at")).to_be_visible()
    expect(page.get_by_text(HURTFUL)).to_be_visible()
    expect(page.get_by_text(NOTE)).to_be_visible()
    expect(page.get_by_text(HARMLESS)).to_have_count(0)
    moderator.screenshot(RESULTS / "reports" / "evidence.png")
    judge(page, alice, "Resolve: what had to be done is done…", "Resolve")
    moderator.screenshot(RESULTS / "reports" / "resolved.png")

    bob.page.goto("/settings/")
    bob.page.get_by_role("link", name="Your reports").click()
    expect(bob.page.get_by_role("heading", name=f"{alice.name}: Harassment or insults")).to_be_visible()
    expect(bob.page.get_by_text("The operators looked at it and acted.")).to_be_visible()
    bob.screenshot(RESULTS / "reports" / "own-reports.png")
    alice.page.goto("/reports/")
    expect(alice.page.get_by_text("You have not reported anybody.")).to_be_visible()


def judge(page: Page, alice: Person, action: str, verb: str) -> None:
    page.goto("/admin/messaging/report/")
    page.get_by_role("row").filter(has_text=alice.name).get_by_role("checkbox").check()
    page.get_by_role("combobox", name="Action").select_option(label=action)
    page.get_by_role("button", name="Go", exact=True).click()
    page.get_by_label("Reason").fill("Insults, several times.")
    page.screenshot(path=RESULTS / "reports" / "confirm.png")
    page.get_by_role("button", name=verb).click()
    expect(page.get_by_text("1 report resolved.")).to_be_visible()


def test_exactly_what_is_disclosed_is_shown_before_it_is_sent(reported: tuple[Person, Person]) -> None:
    alice, bob = reported
    dialog = open_report(bob, alice, HURTFUL)

    dialog.get_by_role("button", name="Continue").click()
    expect(dialog.get_by_role("alert")).to_have_text("Choose what it is about.")
    expect(dialog.get_by_label("Spam or fraud")).to_be_focused()
    dialog.get_by_label("Harassment or insults").check()
    expect(dialog.get_by_role("checkbox", name=HURTFUL)).to_be_checked()
    expect(dialog.get_by_role("checkbox", name=HARMLESS)).not_to_be_checked()
    dialog.get_by_role("button", name="Continue").click()

    expect(dialog.get_by_role("heading", name="This is what the operators will see")).to_be_focused()
    shown = dialog.get_by_role("list", name="Messages that will be disclosed").get_by_role("listitem")
    expect(shown).to_have_count(1)
    expect(shown).to_contain_text(HURTFUL)
    dialog.get_by_role("button", name="Back").click()
    dialog.get_by_role("checkbox", name=HARMLESS).check()
    dialog.get_by_role("button", name="Continue").click()
    expect(shown).to_have_count(2)


def test_the_dialog_works_with_the_keyboard_alone_and_gives_the_focus_back(
    reported: tuple[Person, Person],
) -> None:
    alice, bob = reported
    page = bob.page
    bob.log(alice).focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")
    button = bob.message(alice, HURTFUL).get_by_role("button", name="Report…")
    expect(button).to_be_focused()

    page.keyboard.press("Enter")
    expect(dialog_of(page).get_by_role("heading", name=f"Report {alice.name}")).to_be_focused()
    page.keyboard.press("Escape")

    expect(dialog_of(page)).to_have_count(0)
    expect(button).to_be_focused()


def test_a_person_is_reported_from_the_details(reported: tuple[Person, Person]) -> None:
    bob = reported[1]
    bob.open_drawer()
    bob.press("Report this person…")
    dialog = dialog_of(bob.page)
    dialog.get_by_label("Spam or fraud").check()
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog.get_by_text("No message leaves this browser.")).to_be_visible()

    dialog.get_by_role("button", name="Send the report").click()

    expect(dialog.get_by_role("heading", name="The report is sent")).to_be_focused()
    dialog.get_by_role("button", name="Close").click()
    expect(bob.drawer.get_by_role("button", name="Report this person…")).to_be_focused()


def test_every_step_is_accessible_on_phone_and_desktop_light_and_dark(
    reported: tuple[Person, Person],
) -> None:
    alice, bob = reported
    dialog = open_report(bob, alice, HURTFUL)
    problems = check_page(bob.page, "report-choose")
    dialog.get_by_label("Harassment or insults").check()
    dialog.get_by_role("button", name="Continue").click()
    problems += check_page(bob.page, "report-review")
    dialog.get_by_role("button", name="Send the report").click()
    expect(dialog.get_by_role("heading", name="The report is sent")).to_be_focused()
    problems += check_page(bob.page, "report-done")
    bob.page.goto("/reports/")
    problems += check_page(bob.page, "reports")

    assert problems == []
