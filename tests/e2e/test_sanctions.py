"""As a moderator: from a report to what comes of it, and to the trail; and how it looks to the person it is about."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import RESULTS
from tests.e2e.person import STRETCH_TIMEOUT_MS, Person
from tests.e2e.test_accessibility import check_page
from tests.e2e.test_reports import HURTFUL, report, reported  # noqa: F401 - a fixture
from tests.live_server import LiveServer

pytestmark = pytest.mark.e2e
FEELS_MS = 5_000  # Within which an open page has to feel it.
STOCK = "label-title-only at [['#searchbar']]"  # Django's own markup: a picture is the label.
PICTURES = RESULTS / "sanctions"
MAKE_MODERATOR = """
from django.contrib.auth.models import Group
from accounts.models import User
user = User.objects.get_by_natural_key({name!r})
user.is_staff = True
user.save()
user.groups.set(Group.objects.filter(name__in=["Auditor", "Senior moderator"]))
"""


def choose(page: Page, person: Person, action: str) -> None:
    page.get_by_role("row").filter(has_text=person.name).get_by_role("checkbox").check()
    page.get_by_role("combobox", name="Action").select_option(label=action)
    page.get_by_role("button", name="Go", exact=True).click()


def test_a_report_leads_to_a_mute_and_a_suspension_and_all_of_it_is_in_the_trail(
    reported: tuple[Person, Person],  # noqa: F811 - the fixture
    new_person: Callable[..., Person],
    server: LiveServer,
) -> None:
    alice, bob = reported
    report(bob, alice)
    moderator = new_person("Suspender")
    moderator.sign_up()
    server.manage("shell", "-c", MAKE_MODERATOR.format(name=moderator.name))
    moderator.enrol_second_factor()
    page = moderator.page

    # A warning first, by the list of people.
    page.goto("/admin/accounts/user/")
    choose(page, alice, "Warn…")
    page.get_by_label("Reason").fill("Please be kind.")
    page.get_by_role("button", name="Warn", exact=True).click()
    expect(page.get_by_text("1 warned.")).to_be_visible()

    # The report: evidence, then a mute of the person it is about.
    page.goto("/admin/messaging/report/")
    page.get_by_role("row").filter(has_text=alice.name).get_by_role("link").first.click()
    page.get_by_role("button", name="Open the evidence").click()
    expect(page.get_by_text(f"Verified: sent by {alice.name} at")).to_be_visible()
    expect(page.get_by_text(HURTFUL)).to_be_visible()
    page.goto("/admin/messaging/report/")
    choose(page, alice, "Mute: no sending for some hours…")
    expect(page.get_by_text("They can read, but not send.")).to_be_visible()
    page.get_by_label("Reason").fill("Insults, several times.")
    page.get_by_label("Hours").fill("24")
    problems = check_page(page, "admin-confirm-mute")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.get_by_role("button", name="Mute", exact=True).click()
    expect(page.get_by_text("1 muted.")).to_be_visible()

    # Her page, which was open all the time.
    alice.page.wait_for_timeout(FEELS_MS)
    alice.composer(bob).fill("Can you still hear me?")
    alice.composer(bob).press("Enter")
    expect(alice.log(bob).get_by_text("You cannot send messages until")).to_be_visible()
    expect(alice.log(bob).get_by_text("Insults, several times.")).to_be_visible()
    alice.screenshot(PICTURES / "muted-in-the-chat.png")
    bob.page.keyboard.press("Escape")  # The dialog of the report.
    bob.send(alice, "I can, at least.")
    alice.expect_message(bob, "I can, at least.")

    # Any page of hers says it, too; the warning can be read away.
    alice.page.goto("/friends/")
    notices = alice.page.get_by_role("region", name="From the operators of this server")
    expect(notices).to_contain_text("The operators of this server warn you. The reason: Please be kind.")
    expect(notices).to_contain_text("You cannot send messages until")
    problems += check_page(alice.page, "sanctions-friends")
    alice.page.goto("/chat/")
    expect(notices).to_be_visible()
    problems += check_page(alice.page, "sanctions-chat")
    notices.get_by_role("button", name="I have read it").click()
    expect(notices).not_to_contain_text("warn you")
    expect(alice.page).to_have_url(f"{server.origin}/chat/")

    # It goes on, and she is suspended.
    page.goto("/admin/accounts/user/")
    choose(page, alice, "Suspend until…")
    page.get_by_label("Reason").fill("It went on.")
    page.get_by_label("Until").fill("2090-01-31T12:00")
    page.get_by_role("button", name="Suspend", exact=True).click()
    expect(page.get_by_text("1 suspended.")).to_be_visible()
    expect(alice.page.get_by_text("You were signed out on this browser.")).to_be_visible(timeout=FEELS_MS)
    alice.page.goto("/log-in/")
    alice.fill_log_in()
    told = alice.page.get_by_role("alert")
    expect(told).to_contain_text(
        "This account is suspended until 31 January 2090, 12:00 UTC. The reason: It went on.",
        timeout=STRETCH_TIMEOUT_MS,
    )
    problems += check_page(alice.page, "sanctions-log-in")

    # What the moderator finds afterwards.
    page.goto("/admin/accounts/user/")
    page.get_by_role("link", name=alice.name, exact=True).click()
    expect(page.get_by_role("row").filter(has_text="It went on.")).to_contain_text("in force")
    moderator.screenshot(PICTURES / "person.png")
    page.goto("/admin/accounts/sanction/")
    problems += check_page(page, "admin-sanctions")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto("/admin/securechat/auditevent/")
    for action in ("user.warn", "evidence.open", "user.mute", "report.resolve", "user.suspend"):
        expect(page.get_by_role("row").filter(has_text=action).first).to_contain_text(moderator.name)
    moderator.screenshot(PICTURES / "trail.png")
    bob.page.goto("/reports/")
    expect(bob.page.get_by_text("The operators looked at it and acted.")).to_be_visible()

    assert [problem for problem in problems if STOCK not in problem] == []
