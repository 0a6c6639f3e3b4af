"""People of the first version log in with their old passwords, and find their friends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import RESULTS
from tests.e2e.person import STRETCH_TIMEOUT_MS, Person
from tests.first_version import FirstVersion
from tests.live_server import LiveServer

pytestmark = pytest.mark.e2e


def import_from(old: FirstVersion, server: LiveServer) -> dict[str, Any]:
    said = server.manage(
        "import_first_version", "--database", str(old.database), "--key", str(old.key), "--json"
    )
    result: dict[str, Any] = json.loads(said)
    return result


def first_log_in(person: Person) -> None:
    """With the old password; the keys that are made then bring a recovery code."""
    person.fill_log_in()
    expect(person.page.get_by_role("heading", name="Your recovery code")).to_be_visible(
        timeout=2 * STRETCH_TIMEOUT_MS  # The old record is stretched, too.
    )
    person.keep_recovery_code()
    person.page.locator("#recovery-done-link").click()


def test_who_is_imported_logs_in_with_the_old_password_and_writes_to_a_friend(
    new_person: Callable[..., Person], server: LiveServer, tmp_path: Path
) -> None:
    alice, bob = new_person("OldAlice", "Old#Passw0rd"), new_person("OldBobby", "0ther#Password")
    old = FirstVersion(tmp_path)
    old.add_person(alice.name, alice.password, "5e3d1f")
    old.add_person(bob.name, bob.password, "77aa01")
    old.add_friendship(bob.name, alice.name)
    old.add_friendship("Nobody1", alice.name, "default")
    assert import_from(old, server)["people"]["carried_over"] == 2

    first_log_in(alice)
    first_log_in(bob)
    alice.page.goto("/friends/")
    expect(alice.page.get_by_role("checkbox", name=bob.name)).to_be_visible()
    alice.screenshot(RESULTS / "first-version-friends.png")
    alice.open_chat(bob)
    bob.open_chat(alice)
    alice.send(bob, "The same password, and nothing is readable on the way")
    bob.expect_message(alice, "The same password, and nothing is readable on the way")
    bob.screenshot(RESULTS / "first-version-chat.png")

    alice.log_out()
    alice.log_in()
    alice.page.goto("/chat/")
    expect(alice.page.get_by_text("The same password").first).to_be_visible()
    again = import_from(old, server)
    assert again["people"] == {"carried_over": 0, "here_already": 0, "skipped": 2}
    assert again["friendships"]["here_already"] == 1
