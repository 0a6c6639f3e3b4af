"""axe on every page, light and dark, on a phone and on a desktop; no page scrolls sideways."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.e2e.person import STRETCH_TIMEOUT_MS, Person, set_password_on_the_server
from tests.e2e.recording_proxy import RecordingProxy
from tests.live_server import LiveServer

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
    "/settings/data/",
    "/browsers/",
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
    details = alice.open_drawer()
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


def test_the_states_of_an_account_are_accessible(
    new_person: Callable[..., Person], server: LiveServer, proxy: RecordingProxy
) -> None:
    alice, bob, second = new_person("AxeAlys"), new_person("AxeBert"), new_person("AxeAlys")
    alice.sign_up()
    bob.sign_up()
    second.log_in()
    second.log_out()
    second.log_in()
    problems = check_browsers(alice)
    problems += check_links(bob, link_of(alice))
    problems += check_locked(bob)
    problems += check_log_out(second, proxy)
    set_password_on_the_server(server, second, "Fr0m-the-operator")
    problems += check_lost(second)

    assert problems == []


def check_browsers(person: Person) -> list[str]:
    page = person.page
    page.goto("/browsers/")
    page.get_by_text("1 browser was signed out").click()
    problems = check_page(page, "browsers-two")
    page.locator(".browsers").get_by_role("button", name="Sign out").click()
    problems += check_page(page, "browsers-revoke")
    page.get_by_role("dialog").get_by_role("button", name="Sign it out").click()
    expect(page.locator("#revoke-password-error")).to_be_visible()
    problems += check_page(page, "browsers-revoke-error")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Sign out everywhere else").click()
    problems += check_page(page, "browsers-revoke-all")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    return problems


def link_of(person: Person) -> str:
    person.page.goto("/settings/")
    link = person.page.locator("#my-link-text")
    expect(link).to_contain_text("/add/")
    person.page.get_by_role("button", name="Show the QR code").click()
    return link.inner_text()


def check_links(person: Person, link: str) -> list[str]:
    page = person.page
    page.goto(link)
    expect(page.locator("#link-note")).to_be_visible()
    page.get_by_role("button", name="Show the QR code").click()
    problems = check_page(page, "add-by-link")
    page.goto("about:blank")
    page.goto(link[:-2])
    expect(page.locator("#link-problem")).to_be_visible()
    return problems + check_page(page, "add-by-damaged-link")


def check_locked(person: Person) -> list[str]:
    page = person.page
    page.goto("/settings/")
    page.get_by_role("button", name="Lock now").click()
    expect(page.get_by_text("SecureChat is locked in this browser.")).to_be_visible()
    return check_page(page, "locked")


def check_log_out(person: Person, proxy: RecordingProxy) -> list[str]:
    page = person.page
    page.goto("/log-out/")
    proxy.cut()
    try:
        page.get_by_role("main").get_by_role("button", name="Log out").click()
        expect(page.get_by_role("button", name="Log out anyway")).to_be_visible()
    finally:
        proxy.mend()
    problems = check_page(page, "log-out-unanswered")
    page.get_by_role("button", name="Log out anyway").click()
    page.wait_for_url(lambda url: "log-out" not in url)
    return problems


def check_lost(person: Person) -> list[str]:
    page = person.page
    person.fill_log_in()
    expect(page.locator("#lost-step")).to_be_visible(timeout=STRETCH_TIMEOUT_MS)
    problems = check_page(page, "lost")
    page.get_by_role("button", name="Start fresh").click()
    problems += check_page(page, "start-fresh")
    page.get_by_label("Type your username to confirm").fill("somebody")
    page.get_by_role("button", name="Start fresh", exact=True).click()
    expect(page.locator("#fresh-name-error")).to_be_visible()
    return problems + check_page(page, "start-fresh-error")
