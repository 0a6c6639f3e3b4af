"""A new key, every row under it, and nothing that cannot be found or opened at any moment between."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.contrib.auth.hashers import check_password
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from accounts.models import Door, KeyChainEntry, User, Vault
from accounts.services import key_chain
from friends import errors, services
from friends.models import Friendship
from messaging.models import Conversation, EpochRecord
from securechat import sealed
from securechat.sealed import RotatingPurpose
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def key_file(settings: Settings, tmp_path: Path) -> Path:
    """A key file of this test's own, made before its people are."""
    path = tmp_path / "keys.json"
    sealed.write_key_file(sealed.new_key_ring(), path)
    settings.KEYS_FILE = str(path)
    return path


@pytest.fixture
def friends_of_alice(key_file: Path, settings: Settings, alice: User) -> list[User]:
    settings.FRIEND_REQUESTS_PER_HOUR = 1000
    people = [factories.make_user(f"Friend{number}") for number in range(5)]
    for number, person in enumerate(people):
        factories.befriend(*((alice, person) if number % 2 else (person, alice)))
    return people


def rotate(*arguments: str) -> str:
    out = io.StringIO()
    call_command("rotate_keys", *arguments, stdout=out)
    return out.getvalue()


def ids(purpose: RotatingPurpose) -> list[int]:
    return [key.id for key in sealed.key_ring().keys[purpose]]


def names_of_friends(user: User) -> set[str]:
    rows = Friendship.objects.involving(user).accepted()
    return {person.username for person in services.peers_of(user, rows).values()}


class Dies(io.StringIO):
    """A terminal whose command is killed after its first batch."""

    def write(self, text: str) -> int:
        if " of " in text:
            raise KeyboardInterrupt
        return super().write(text)


def kill_while_rotating(purpose: RotatingPurpose) -> None:
    with pytest.raises(KeyboardInterrupt):
        call_command("rotate_keys", purpose, "--batch-rows", "2", stdout=Dies())


def test_names_move_to_the_new_key_and_old_keys_can_be_forgotten(
    alice: User, friends_of_alice: list[User]
) -> None:
    before = names_of_friends(alice)

    assert "Done." in rotate("fernet")

    assert ids("fernet") == [2, 1]
    assert all(sealed.is_name_by_newest(row.friend_sealed) for row in Friendship.objects.all())
    assert "Dropped 1 old fernet keys." in rotate("fernet", "--forget-old")
    assert ids("fernet") == [2]
    assert names_of_friends(alice) == before


def test_seals_of_every_table_move_to_the_new_key(alice: User, bob: User, friendship: Friendship) -> None:
    conversation = Conversation.of(friendship.public_id)
    conversation.save()
    EpochRecord.sealing(conversation, 1, b"record").save()
    entries = key_chain.entries_of(alice)

    rotate("seal")
    rotate("seal", "--forget-old")

    assert ids("seal") == [2]
    assert key_chain.entries_of(alice) == entries
    assert EpochRecord.objects.get().record() == b"record"
    for model, column in (
        (KeyChainEntry, "sealed_entry"),
        (Vault, "sealed_box"),
        (Door, "sealed_content"),
        (EpochRecord, "sealed_record"),
    ):
        rows = model._default_manager.values_list(column, flat=True)
        assert rows
        assert all(sealed.is_sealed_by_newest(row) for row in rows)
    assert all(vault.box for vault in Vault.objects.all())
    assert all(door.content for door in Door.objects.all())


def test_friendships_are_found_before_during_and_after_a_new_index_key(
    alice: User, friends_of_alice: list[User]
) -> None:
    before = names_of_friends(alice)

    kill_while_rotating("blind_index")

    assert names_of_friends(alice) == before
    for person in friends_of_alice:
        for first, second in ((alice, person), (person, alice)):
            with pytest.raises(errors.AlreadyFriends):
                services.request_friendship(sender=first, username=second.username)
    assert "Continuing" in rotate("blind_index")
    rotate("blind_index", "--forget-old")
    assert ids("blind_index") == [2]
    assert names_of_friends(alice) == before


@pytest.mark.parametrize("purpose", ["fernet", "seal", "blind_index"])
def test_a_killed_rotation_continues_without_a_further_key(
    alice: User, friends_of_alice: list[User], purpose: RotatingPurpose
) -> None:
    kill_while_rotating(purpose)
    assert ids(purpose) == [2, 1]

    assert "Continuing" in rotate(purpose)

    assert ids(purpose) == [2, 1]
    rotate(purpose)
    assert ids(purpose) == [3, 2, 1]


@pytest.mark.parametrize("purpose", ["fernet", "seal", "blind_index", "pepper"])
def test_a_dry_run_changes_nothing(
    alice: User, friends_of_alice: list[User], key_file: Path, purpose: RotatingPurpose
) -> None:
    keys = key_file.read_bytes()
    rows = list(Friendship.objects.order_by("pk").values())

    assert "would be" in rotate(purpose, "--dry-run")
    assert "would be" in rotate(purpose, "--forget-old", "--dry-run")

    assert key_file.read_bytes() == keys
    assert list(Friendship.objects.order_by("pk").values()) == rows


def test_a_new_pepper_is_kept_beside_the_old_until_everybody_logged_in(alice: User, bob: User) -> None:
    assert "2 password hashes follow" in rotate("pepper")

    with pytest.raises(CommandError, match="2 password hashes still need an older pepper"):
        rotate("pepper", "--forget-old")
    for person in (alice, bob):
        assert person.check_password(factories.PASSWORD)
    rotate("pepper", "--forget-old")
    assert ids("pepper") == [2]
    alice.refresh_from_db()
    assert check_password(factories.auth_key_for("Alice1"), alice.password)


def test_progress_is_shown(alice: User, friends_of_alice: list[User]) -> None:
    shown = rotate("fernet", "--batch-rows", "2")

    assert "friends.Friendship: 2 of 5 rows" in shown
    assert "friends.Friendship: 5 of 5 rows" in shown


def test_rows_that_no_key_opens_stop_it_before_a_key_is_made(
    alice: User, friendship: Friendship, key_file: Path
) -> None:
    sealed.write_key_file(sealed.new_key_ring(), key_file)
    keys = key_file.read_bytes()

    for purpose in ("fernet", "seal", "blind_index"):
        with pytest.raises(CommandError, match="no key in the ring opens"):
            rotate(purpose)
    assert key_file.read_bytes() == keys


def test_without_keys_nothing_is_made(alice: User, key_file: Path) -> None:
    key_file.unlink()

    with pytest.raises(CommandError, match="There is no key file"):
        rotate("seal")
    assert not key_file.exists()


def test_keys_from_the_environment_are_not_the_commands_to_change(
    alice: User, bob: User, friendship: Friendship, key_file: Path, settings: Settings
) -> None:
    text = key_file.read_text()
    settings.SECURECHAT_KEYS = text
    with pytest.raises(CommandError, match="restart the server"):
        rotate("fernet")

    rotate_file_only(key_file, settings)
    settings.SECURECHAT_KEYS = key_file.read_text()
    assert "Continuing" in rotate("fernet")
    assert sealed.is_name_by_newest(Friendship.objects.get().friend_sealed)


def rotate_file_only(key_file: Path, settings: Settings) -> None:
    """What the operator does by hand."""
    ring = sealed.key_ring()
    keys = (sealed.new_key(2), *ring.keys["fernet"])
    sealed.write_key_file(sealed.KeyRing({**ring.keys, "fernet": keys}), key_file)


def test_the_old_key_is_written_beside_the_new_one_with_mode_0600(
    alice: User, friendship: Friendship, key_file: Path
) -> None:
    rotate("seal")

    assert key_file.stat().st_mode & 0o777 == 0o600
    assert ids("seal") == [2, 1]
    assert ids("fernet") == [1]
