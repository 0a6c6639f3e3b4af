"""axe on every page, light and dark, on a phone and on a desktop; no page scrolls sideways."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.e2e.person import Person

pytestmark = pytest.mark.e2e

STRANGER_PAGES = [
    "/",
    "/sign-up/",
    "/log-in/",
    "/recover/",
    "/trust/",
    "/about/",
    "/what-the-server-sees/",
    "/admin/login/",
    "/no-such-page/",
]
SIGNED_IN_PAGES = [
    "/",
    "/friends/",
    "/friends/add/",
    "/friends/requests/?tab=received",
    "/friends/requests/?tab=sent",
    "/settings/",
    "/log-out/",
    "/chat/",
    "/about/",
    "/what-the-server-sees/",
]
WIDTHS = [320, 1280]
SCREENSHOTS = Path(__file__).resolve().parents[2] / "var" / "screenshots" / "pages"
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def check_page(page: Page, name: str) -> list[str]:
    """What axe says, and whether the page scrolls sideways, in both widths and both themes."""
    problems: list[str] = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.evaluate(
                "Promise.allSettled(document.getAnimations().map((animation) => animation.finished))"
            )
            where = f"{name} {width} {scheme}"
            results = Axe().run(page, options=RULES)
            problems += [
                f"{where}: {violation['id']} at {[node['target'] for node in violation['nodes']][:3]}"
                for violation in results.response["violations"]
            ]
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                problems.append(f"{where}: scrolls sideways")
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            file = name.strip("/").replace("/", "-").replace("?", "-") or "start"
            page.screenshot(path=SCREENSHOTS / f"{file}-{width}-{scheme}.png", full_page=True)
    return problems


def check_details(alice: Person, second_browser: Person) -> list[str]:
    """The drawer in each of its states, and the notice of a new browser."""
    page = alice.page
    lock = page.get_by_role("button", name="Conversation details")
    details = page.get_by_role("complementary", name="Conversation details")
    lock.click()
    expect(details.get_by_role("img", name="Code of your safety number")).to_be_visible()
    problems = check_page(page, "details-in-person")
    details.get_by_role("tab", name="By phone").click()
    problems += check_page(page, "details-by-phone")
    details.get_by_role("button", name="They do not match").click()
    problems += check_page(page, "details-mismatch")
    details.get_by_role("button", name="They match").click()
    details.get_by_text("Show the safety number").click()
    problems += check_page(page, "details-verified")
    page.keyboard.press("Escape")
    second_browser.log_in()
    expect(page.get_by_text("A new browser signed in to your account at")).to_be_visible()
    problems += check_page(page, "chat-new-sign-in")
    page.get_by_role("button", name="It was me").click()
    return problems


def test_every_page_for_strangers_is_accessible(new_person: Callable[..., Person]) -> None:
    stranger = new_person("Stranger")
    problems: list[str] = []

    for path in STRANGER_PAGES:
        stranger.page.goto(path)
        stranger.page.wait_for_load_state("networkidle")
        problems += check_page(stranger.page, f"stranger{path}")

    assert problems == []


def test_what_is_folded_away_is_accessible(new_person: Callable[..., Person]) -> None:
    page = new_person("Stranger").page
    page.goto("/what-the-server-sees/")
    for summary in page.locator("main summary").all():
        summary.click()

    assert check_page(page, "what-the-server-sees-unfolded") == []


def test_every_page_for_people_is_accessible(new_person: Callable[..., Person]) -> None:
    alice, bob, carol = new_person("AxeAlice"), new_person("AxeBobby"), new_person("AxeCarol")
    problems: list[str] = []
    alice.page.goto("/sign-up/")
    alice.page.get_by_label("Username").fill("x!")
    alice.page.get_by_label("Password", exact=True).fill("aaaa")
    alice.page.get_by_role("button", name="Sign up").click()
    problems += check_page(alice.page, "sign-up-with-errors")
    for person in (alice, bob, carol):
        person.sign_up()
    for path in SIGNED_IN_PAGES:
        carol.page.goto(path)
        carol.page.wait_for_load_state("load")
        problems += check_page(carol.page, f"empty{path}")

    alice.befriend(bob)
    carol.ask(alice)
    bob.open_chat(alice)
    alice.open_chat(bob)
    alice.send(bob, "Shall we meet at eight?")
    bob.send(alice, "Yes, at the bridge. https://example.org/bridge")
    alice.expect_message(bob, "Shall we meet at eight?")
    expect(alice.log(bob).get_by_text("Yes, at the bridge.")).to_be_visible()
    problems += check_page(alice.page, "chat-room")
    problems += check_details(alice, new_person("AxeAlice"))
    for path in SIGNED_IN_PAGES:
        alice.page.goto(path)
        alice.page.wait_for_load_state("load")
        problems += check_page(alice.page, f"alice{path}")

    assert problems == []
