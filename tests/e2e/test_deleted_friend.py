"""What is seen of a friend whose account was deleted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e.person import Person
from tests.live_server import LiveServer

pytestmark = pytest.mark.e2e


def test_a_friend_whose_account_was_deleted_is_said_to_be_gone(
    new_person: Callable[..., Person], server: LiveServer
) -> None:
    alice, bob = new_person("AliceStays"), new_person("BobbyGoes")
    alice.sign_up()
    bob.sign_up()
    alice.befriend(bob)
    alice.open_chat(bob)
    alice.send(bob, "Are you there?")
    bob.page.close()
    delete = f"from accounts.models import User; User.objects.get(username='{bob.name}').delete()"
    server.manage("shell", "-v", "0", "-c", delete)

    alice.page.reload()

    room = alice.page.get_by_role("region", name=bob.name)
    expect(room.get_by_text("This account no longer exists.")).to_be_visible()
    expect(alice.page.get_by_text("No encryption yet")).to_have_count(0)
    expect(alice.page.locator(".banner-alarm")).to_have_count(0)
    expect(alice.page.get_by_role("textbox", name="Message")).to_have_count(0)
