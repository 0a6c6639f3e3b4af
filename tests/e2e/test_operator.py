"""An operator's way into the admin, and what is written down of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e.person import STRETCH_TIMEOUT_MS, Person
from tests.e2e.test_accessibility import SCREENSHOTS, check_page
from tests.live_server import LiveServer

pytestmark = pytest.mark.e2e

STOCK = "label-title-only at [['#searchbar']]"  # Django's own markup: a picture is the label.
MAKE_OPERATOR = """
from django.contrib.auth.models import Group
from accounts.models import User
user = User.objects.get_by_natural_key({name!r})
user.is_staff = True
user.save()
user.groups.set(Group.objects.filter(name__in=["Auditor", "Senior moderator"]))
"""


def test_an_operator_enrols_acts_and_reads_it_in_the_trail(
    new_person: Callable[..., Person], server: LiveServer
) -> None:
    operator, alice = new_person("Auditor1"), new_person("Alice01")
    operator.sign_up()
    alice.sign_up()
    server.manage("shell", "-c", MAKE_OPERATOR.format(name=operator.name))
    page = operator.page

    page.goto("/admin/")
    expect(page.locator(".qr svg")).to_be_visible()
    problems = check_page(page, "admin-second-factor-enrol")
    page.set_viewport_size({"width": 1280, "height": 800})
    codes = operator.enrol_second_factor()
    assert len(set(codes)) == 10
    operator.context.clear_cookies()
    page.goto("/log-in/?next=/admin/")
    operator.fill_log_in()
    expect(page.get_by_label("Code", exact=True)).to_be_visible(timeout=STRETCH_TIMEOUT_MS)
    problems += check_page(page, "admin-second-factor")
    page.get_by_label("Code", exact=True).fill("000 000")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("alert")).to_contain_text("not right")
    page.get_by_label("Code", exact=True).fill(codes[0])
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", name="Keep order")).to_be_visible()
    expect(page.get_by_role("heading", name="Sign-ups by day")).to_be_visible()
    expect(page.get_by_role("img").filter(has=page.locator("rect")).first).to_be_visible()
    problems += check_page(page, "admin-front")
    page.set_viewport_size({"width": 1280, "height": 800})

    page.get_by_role("link", name="People", exact=True).first.click()
    page.get_by_role("row", name=alice.name).get_by_role("checkbox").check()
    page.get_by_label("Action:").select_option(label="Sign out everywhere…")
    page.get_by_role("button", name="Go", exact=True).click()
    page.get_by_label("Reason").fill("Asked for it.")
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_text("1 signed out, 0 left as they were.")).to_be_visible()
    alice.page.goto("/settings/")
    expect(alice.page).to_have_url(f"{server.origin}/log-in/?next=/settings/")

    page.goto("/admin/securechat/auditevent/")
    for action in ("user.sign_out", "second_factor.prove", "second_factor.refuse", "operator.log_in"):
        expect(page.get_by_role("row").filter(has_text=action).first).to_be_visible()
    problems += check_page(page, "admin-audit-list")
    page.get_by_role("row").filter(has_text="user.sign_out").get_by_role("link").first.click()
    expect(page.get_by_text("admin from 127.0.0.1")).to_be_visible()
    operator.screenshot(SCREENSHOTS / "admin-audit-event.png")
    assert "events are good" in server.manage("audit_verify")
    assert [problem for problem in problems if STOCK not in problem] == []
