"""A proof that Chromium's drawer exports, checked by both programs that know nothing of one another."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.person import Person
from tests.live_server import LiveServer
from tests.peer import proof as peer_proof
from tests.peer.crypto import Refused

pytestmark = pytest.mark.e2e


@pytest.fixture
def friends(talking: tuple[Person, Person]) -> tuple[Person, Person]:
    """Alice and Bob, who have written one message each."""
    alice, bob = talking
    alice.send(bob, "One")
    bob.expect_message(alice, "One")
    bob.send(alice, "Two")
    alice.expect_message(bob, "Two")
    return alice, bob


def exported(person: Person, friend: Person, folder: Path) -> Path:
    """What “Export proof” saves, once the friend's browser has confirmed all."""
    drawer = person.open_drawer()
    expect(drawer.get_by_text(f"{friend.name}'s browser confirmed all of them.")).to_be_visible()
    with person.page.expect_download() as download:
        drawer.get_by_role("button", name="Export proof").click()
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    return file


def test_what_both_browsers_export_is_held_by_both_programs(
    friends: tuple[Person, Person], server: LiveServer, tmp_path: Path
) -> None:
    alice, bob = friends
    names = {alice.name.lower(), bob.name.lower()}
    files = [exported(alice, bob, tmp_path), exported(bob, alice, tmp_path)]

    shown = set()
    for file in files:
        said = json.loads(server.manage("verify_proof", "--json", str(file)))
        confirmed = peer_proof.check_proof(file.read_text(encoding="utf-8"))
        assert {person["name"] for person in said["people"]} == set(confirmed.names) == names
        assert [person["confirmed"] for person in said["people"]] == [*confirmed.counts] == [2, 2]
        shown |= {said["safety_number"], confirmed.safety_number}
    assert len(shown) == 1
    digits = alice.page.get_by_role("list", name="Safety number").get_by_role("listitem")
    assert shown == {" ".join(digits.all_inner_texts())}


def test_a_proof_that_was_changed_is_refused_by_both_programs(
    friends: tuple[Person, Person], server: LiveServer, tmp_path: Path
) -> None:
    alice, bob = friends
    file = exported(alice, bob, tmp_path)
    proof: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))

    proof["hashes"].reverse()
    file.write_text(json.dumps(proof), encoding="utf-8")

    with pytest.raises(Refused, match="log_mismatch"):
        peer_proof.check_proof(file.read_text(encoding="utf-8"))
    with pytest.raises(subprocess.CalledProcessError) as refusal:
        server.manage("verify_proof", str(file))
    assert refusal.value.returncode == 1
    assert "or in another order, than the file lists." in refusal.value.stderr
