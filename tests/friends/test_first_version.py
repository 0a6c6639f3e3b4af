"""`manage.py import_first_version`, on a database that is built here in the first version's shape."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from accounts.errors import UsernameTaken
from accounts.models import User
from friends import services
from friends.first_version import judge, read_key, read_rows
from friends.models import Friendship
from friends.services import first_version
from securechat.audit import AuditEvent
from tests import factories
from tests.first_version import FirstVersion
from tests.peer import crypto

pytestmark = pytest.mark.django_db

Status = Friendship.Status


@pytest.fixture
def old(tmp_path: Path) -> FirstVersion:
    """Alice and Bobby are friends, Carol asked Alice, Bobby rejected Carol."""
    old = FirstVersion(tmp_path)
    for number, name in enumerate(("Alice1", "Bobby", "Carol1")):
        old.add_person(name, salt=f"salt{number}")
    old.add_friendship("Alice1", "Bobby")
    old.add_friendship("Carol1", "Alice1", "default")
    old.add_friendship("Carol1", "Bobby", "reject")
    return old


def run(old: FirstVersion, *options: str) -> dict[str, Any]:
    out = io.StringIO()
    files = ("--database", str(old.database), "--key", str(old.key))
    call_command("import_first_version", *files, "--json", *options, stdout=out, stderr=io.StringIO())
    said: dict[str, Any] = json.loads(out.getvalue())
    return said


def counts(said: dict[str, Any]) -> tuple[int, int, int, dict[str, int], int, int]:
    people, friendships = said["people"], said["friendships"]
    return (
        people["carried_over"],
        people["here_already"],
        people["skipped"],
        friendships["carried_over"],
        friendships["here_already"],
        friendships["skipped"],
    )


def everything() -> list[list[dict[str, Any]]]:
    tables: list[Any] = [User, Friendship, AuditEvent]
    return [list(model.objects.order_by("pk").values()) for model in tables]


def between(first: str, second: str) -> Friendship:
    people = [User.objects.get_by_natural_key(name) for name in (first, second)]
    return Friendship.objects.between(*people).get()


def why(said: dict[str, Any], table: str, row: int) -> str:
    (reason,) = (
        skipped["why"] for skipped in said["skipped"] if (skipped["table"], skipped["row"]) == (table, row)
    )
    return str(reason)


def test_people_and_friendships_come_with_their_status(old: FirstVersion) -> None:
    said = run(old)

    assert counts(said) == (3, 0, 0, {"approve": 1, "default": 1, "reject": 1}, 0, 0)
    assert said["skipped"] == []
    alice, bob, carol = (User.objects.get_by_natural_key(name) for name in ("Alice1", "Bobby", "Carol1"))
    assert all(user.is_legacy and user.is_active and not user.is_staff for user in (alice, bob, carol))
    assert [user.legacy_salt for user in (alice, bob, carol)] == ["salt0", "salt1", "salt2"]
    assert services.peers_of(alice, Friendship.objects.involving(alice).accepted()).popitem()[1] == bob
    assert between("Alice1", "Bobby").friend_name == "Bobby"
    assert list(Friendship.objects.received_by(alice)) == [between("Carol1", "Alice1")]
    assert list(Friendship.objects.sent_by(carol)) == [between("Carol1", "Alice1")]
    assert between("Bobby", "Carol1").status == Status.REJECT
    assert between("Bobby", "Carol1").side_of(carol) == 0


def test_it_says_why_messages_are_not_carried(old: FirstVersion) -> None:
    out = io.StringIO()

    call_command(
        "import_first_version",
        "--database",
        str(old.database),
        "--key",
        str(old.key),
        stdout=out,
        stderr=io.StringIO(),
    )

    assert "3 people carried over, 0 here already, 0 skipped." in out.getvalue()
    assert "1 of friends, 1 requests, 1 rejections" in out.getvalue()
    assert "Messages cannot be carried over. Each is signed now by its author's browser" in out.getvalue()


def test_the_import_is_one_audit_event_with_its_counts(old: FirstVersion) -> None:
    run(old)

    event = AuditEvent.objects.get()
    assert (event.action, event.by_id, event.source) == (
        "first_version.import",
        None,
        "command:import_first_version",
    )
    assert json.loads(event.after) == {"people": 3, "approve": 1, "default": 1, "reject": 1}


def test_a_dry_run_says_the_same_and_changes_nothing(old: FirstVersion) -> None:
    dry = run(old, "--dry-run")

    assert everything() == [[], [], []]
    assert {**dry, "dry_run": False} == run(old)


def test_a_second_run_changes_nothing_more(old: FirstVersion) -> None:
    run(old)
    alice = User.objects.get_by_natural_key("Alice1")
    services.withdraw_request(
        withdrawn_by=User.objects.get_by_natural_key("Carol1"),
        public_id=between("Carol1", "Alice1").public_id,
    )
    alice.set_auth_key(factories.auth_key_for("Alice1", "An0ther#One"))
    alice.save()
    before = everything()

    said = run(old)

    assert everything() == before
    assert counts(said) == (0, 2, 1, {"approve": 0, "default": 0, "reject": 0}, 3, 0)
    assert "an account 'Alice1' here with a password of its own" in why(said, "user", 1)


def test_who_was_added_to_the_old_database_later_comes_with_their_friends(old: FirstVersion) -> None:
    run(old)
    old.add_person("David1")
    old.add_friendship("David1", "Bobby")

    assert counts(run(old)) == (1, 3, 0, {"approve": 1, "default": 0, "reject": 0}, 3, 0)
    assert between("David1", "Bobby").is_open


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Bob", "The name 'Bob' breaks today's rules: Use at least 5 characters."),
        ("Bob Smith", "no spaces or symbols"),
        ("Zoë123", "The name 'Zo\\xeb123' breaks today's rules"),
        ("x" * 31, "Use at most 30 characters."),
        ("Evil1\x1b[2J", "'Evil1\\x1b[2J'"),
        ("ALICE1", "The names 'ALICE1' and 'Alice1' are one name now"),
        (None, "The name is not a text."),
    ],
)
def test_a_name_that_nobody_can_have_is_skipped_with_its_friendships(
    old: FirstVersion, name: str | None, reason: str
) -> None:
    old.add_person(name)
    old.add_friendship(name or "", "Bobby")

    said = run(old)

    assert counts(said) == (3, 0, 1, {"approve": 1, "default": 1, "reject": 1}, 0, 1)
    assert reason in why(said, "user", 4)
    assert "is nobody who is carried over" in why(said, "friend", 4)


@pytest.mark.parametrize(
    ("digest", "salt"),
    [("no digest", "salt"), ("a" * 63, "salt"), ("a" * 64, ""), ("a" * 64, "s" * 201), (None, None)],
)
def test_a_password_that_is_no_record_is_skipped(old: FirstVersion, digest: object, salt: object) -> None:
    old.insert("user", "David1", digest, salt)

    assert why(run(old), "user", 4) == (
        "The password of 'David1' is not a salt and a SHA-256 in hexadecimal digits."
    )
    assert User.objects.count() == 3


def test_friendships_that_mean_nothing_are_skipped_with_the_reason(old: FirstVersion) -> None:
    old.add_friendship("Alice1", "Nobody1")
    old.add_friendship("Nobody1", "Alice1")
    old.add_friendship("Alice1", "Alice1")
    old.add_friendship("Bobby", "Carol1", "enemies")
    old.insert("friend", "Alice1", Fernet(Fernet.generate_key()).encrypt(b"Bobby").decode(), "approve")
    old.insert("friend", "Alice1", None, "approve")

    said = run(old)

    assert counts(said) == (3, 0, 0, {"approve": 1, "default": 1, "reject": 1}, 0, 6)
    assert why(said, "friend", 4).startswith("'Nobody1' is nobody who is carried over")
    assert why(said, "friend", 5).startswith("'Nobody1' is nobody who is carried over")
    assert why(said, "friend", 6) == "'Alice1' is said to be their own friend."
    assert "The status 'enemies' is none" in why(said, "friend", 7)
    for row in (8, 9):
        assert why(said, "friend", row) == "The name of a friend of 'Alice1' does not open with this key."


@pytest.mark.parametrize(
    ("rows", "status", "asked_by"),
    [
        ([("Alice1", "default"), ("Dave12", "default")], Status.APPROVE, "Alice1"),
        ([("Alice1", "default"), ("Alice1", "default")], Status.DEFAULT, "Alice1"),
        ([("Alice1", "reject"), ("Dave12", "default")], Status.DEFAULT, "Dave12"),
        ([("Alice1", "reject"), ("Dave12", "approve")], Status.APPROVE, "Dave12"),
        ([("Dave12", "reject"), ("Alice1", "reject")], Status.REJECT, "Dave12"),
    ],
)
def test_two_rows_of_two_people_become_one(
    old: FirstVersion, rows: list[tuple[str, str]], status: Status, asked_by: str
) -> None:
    old.add_person("Dave12")
    for sender, of_row in rows:
        old.add_friendship(sender, "Alice1" if sender == "Dave12" else "Dave12", of_row)

    run(old)

    row = between("Alice1", "Dave12")
    assert (row.status, row.side_of(User.objects.get_by_natural_key(asked_by))) == (status, 0)


def test_an_account_that_signed_up_here_gets_nobodys_friends(old: FirstVersion) -> None:
    bob = factories.make_user("bobby")

    said = run(old)

    assert counts(said) == (2, 0, 1, {"approve": 0, "default": 1, "reject": 0}, 0, 2)
    assert "It is left as it is." in why(said, "user", 2)
    assert "The account 'Bobby' here may be somebody else's" in why(said, "friend", 1)
    assert not Friendship.objects.involving(bob).exists()


def test_what_is_stored_as_bytes_is_read_all_the_same(old: FirstVersion) -> None:
    old.insert("user", "David1", b"A" * 64, b"salt")
    old.insert("friend", "David1", old.fernet.encrypt(b"Bobby"), "approve")

    assert run(old)["people"]["carried_over"] == 4
    assert between("David1", "Bobby").is_open


def test_all_or_nothing_when_a_name_is_taken_meanwhile(old: FirstVersion) -> None:
    plan = judge(read_rows(old.database), read_key(old.key), {})
    factories.make_user("carol1")
    before = everything()

    with pytest.raises(UsernameTaken):
        first_version.carry_over(plan, source="", progress=lambda done: None)

    assert everything() == before


def test_the_old_password_proves_the_account(old: FirstVersion) -> None:
    run(old)
    alice = User.objects.get_by_natural_key("Alice1")

    hashed = crypto.legacy_password(factories.PASSWORD, "salt0").decode()

    assert alice.check_password(hashed)
    assert not alice.check_password(factories.PASSWORD)


def refusal(database: Path, key: Path) -> str:
    with pytest.raises(CommandError) as refused:
        call_command("import_first_version", "--database", str(database), "--key", str(key))
    assert everything() == [[], [], []]
    return str(refused.value)


def test_files_that_are_something_else_are_refused(old: FirstVersion, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("something else")
    empty = tmp_path / "empty.db"
    empty.touch()

    assert "There is no database at" in refusal(tmp_path / "none", old.key)
    assert "is not a database of the first version" in refusal(other, old.key)
    assert "no such table" in refusal(empty, old.key)
    assert "cannot be read: No such file" in refusal(old.database, tmp_path / "none")
    assert "a Fernet key is 44 characters of base64" in refusal(old.database, other)


def test_a_key_that_opens_nothing_is_refused_before_people_lose_their_friends(old: FirstVersion) -> None:
    old.key.write_bytes(Fernet.generate_key())

    assert "opens not one of the friends' names" in refusal(old.database, old.key)


def test_the_old_database_is_only_read(old: FirstVersion) -> None:
    before = old.database.read_bytes()
    old.database.chmod(0o400)

    run(old)

    assert old.database.read_bytes() == before
