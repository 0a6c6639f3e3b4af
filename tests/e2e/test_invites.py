"""Signing up where an invite is needed, in a browser."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.conftest import RESULTS
from tests.e2e.person import STRETCH_TIMEOUT_MS, Person
from tests.live_server import LiveServer, free_port

pytestmark = pytest.mark.e2e


@pytest.fixture
def server_by_invite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    port = free_port()
    folder = tmp_path_factory.mktemp("invites")
    server = LiveServer(folder, port=port, public_port=port, settings={"SIGN_UP": "invite"})
    server.prepare()
    server.start()
    yield server
    server.stop()


def test_who_has_a_code_signs_up(browser: Browser, server_by_invite: LiveServer) -> None:
    code = json.loads(server_by_invite.manage("invite", "make", "--json"))["code"]
    alice = Person.in_new_context(browser, server_by_invite.origin, name="Invited1", password="Passw0rd!")
    page = alice.page
    page.goto("/sign-up/")
    page.get_by_label("Username").fill(alice.name)
    page.get_by_label("Password", exact=True).fill(alice.password)
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_text("Enter the invite code.").first).to_be_visible()

    page.get_by_label("Invite code").fill("0000-0000-0000-0000")
    page.get_by_role("button", name="Sign up").click()
    refusal = page.get_by_text("This invite code cannot be used.").first
    expect(refusal).to_be_visible(timeout=STRETCH_TIMEOUT_MS)
    page.screenshot(path=RESULTS / "invite-refused.png", full_page=True)

    page.get_by_label("Invite code").fill(f"  {code.lower()} ")
    page.get_by_role("button", name="Sign up").click()
    alice.keep_recovery_code()
    assert alice.problems == []
    alice.context.close()
