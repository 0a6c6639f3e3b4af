"""What the first version kept, read from its SQLite file and judged by today's rules. Changes nothing.

Its tables are ``user(username, password, salt)``, with ``sha256(password + salt)`` in hexadecimal digits, and
``friend(sender, friend, status)``, with the friend's name as a Fernet token under a key in a file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from cryptography.fernet import Fernet, InvalidToken
from django.core.exceptions import ValidationError

from accounts.models import User
from accounts.names import fold
from accounts.services import legacy
from accounts.validators import validate_username
from friends.models import Friendship

Status = Friendship.Status
STATUSES = (Status.APPROVE, Status.DEFAULT, Status.REJECT)
_LONGEST_QUOTE = 40


class FirstVersionUnreadable(Exception):
    """Database or key file are not the first version's. The message is a sentence for whoever runs the command."""


class OldPerson(NamedTuple):
    username: str
    password_digest: str
    old_salt: str


class OldFriendship(NamedTuple):
    """Of two folded names, in a status that the first version had."""

    sender: str
    friend: str
    status: Status


@dataclass(frozen=True)
class Skipped:
    """A row that is not carried over, and why, in a sentence."""

    table: Literal["user", "friend"]
    row: int
    why: str


@dataclass(frozen=True)
class OldRows:
    """As they are stored, each after its row number; names and tokens may be anything."""

    people: Sequence[tuple[int, object, object, object]]
    friendships: Sequence[tuple[int, object, object, object]]


@dataclass
class Plan:
    """What there is to carry over. What is here already is only counted: an earlier import brought it."""

    people: list[OldPerson] = field(default_factory=list)
    people_here: int = 0
    friendships: list[OldFriendship] = field(default_factory=list)
    friendships_here: int = 0
    skipped: list[Skipped] = field(default_factory=list)

    def count(self, status: Status) -> int:
        return sum(friendship.status == status for friendship in self.friendships)

    def count_skipped(self, table: Literal["user", "friend"]) -> int:
        return sum(skipped.table == table for skipped in self.skipped)


def read_rows(database: Path) -> OldRows:
    """Opens the file read-only. Raises ``FirstVersionUnreadable``."""
    if not database.is_file():
        raise FirstVersionUnreadable(f"There is no database at {database}.")
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            connection.text_factory = lambda raw: raw.decode(errors="replace")
            return OldRows(
                connection.execute(
                    'SELECT rowid, username, password, salt FROM "user" ORDER BY rowid'
                ).fetchall(),
                connection.execute(
                    'SELECT rowid, sender, friend, status FROM "friend" ORDER BY rowid'
                ).fetchall(),
            )
    except sqlite3.Error as error:
        raise FirstVersionUnreadable(
            f"{database} is not a database of the first version, with its tables user(username, password, salt) and "
            f"friend(sender, friend, status): {error}."
        ) from None


def read_key(file: Path) -> Fernet:
    """Raises ``FirstVersionUnreadable``."""
    try:
        return Fernet(file.read_bytes().strip())
    except OSError as error:
        raise FirstVersionUnreadable(f"The key file {file} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise FirstVersionUnreadable(
            f"{file} is not the first version's key file: a Fernet key is 44 characters of base64."
        ) from None


def folded_names(rows: OldRows) -> set[str]:
    return {fold(name) for _, name, _, _ in rows.people if isinstance(name, str)}


def judge(rows: OldRows, key: Fernet, here: Mapping[str, User]) -> Plan:
    """``here`` are the people of this server who have one of these names, by folded name.

    Raises ``FirstVersionUnreadable`` where the key opens not one friend's name: to import people without their
    friendships could not be made good later.
    """
    plan, people = Plan(), _People(here)
    for row in rows.people:
        _judge_person(row, people, plan)
    friends = {number: _open(key, token) for number, _, token, _ in rows.friendships}
    if friends and not any(friends.values()):
        raise FirstVersionUnreadable(
            "The key file opens not one of the friends' names. Is it the one that belongs to this database?"
        )
    pairs: dict[frozenset[str], list[OldFriendship]] = {}
    for number, sender, _, status in rows.friendships:
        judged = _judge_friendship(sender, friends[number], status, people)
        if isinstance(judged, str):
            plan.skipped.append(Skipped("friend", number, judged))
        else:
            pairs.setdefault(frozenset((judged.sender, judged.friend)), []).append(judged)
    plan.friendships = [_as_one(of_pair) for pair, of_pair in pairs.items() if pair & people.new]
    plan.friendships_here = len(pairs) - len(plan.friendships)
    return plan


@dataclass
class _People:
    """By folded name: who is here, and as whom the old database knows those who are carried over or were before."""

    here: Mapping[str, User]
    typed: dict[str, str] = field(default_factory=dict)
    new: set[str] = field(default_factory=set)
    """Of those."""
    doubtful: set[str] = field(default_factory=set)
    """Of those: the account here may be somebody else's."""

    def name_of(self, typed: object) -> str | None:
        """The first version told names apart by case."""
        name = fold(_text(typed))
        return name if self.typed.get(name) == typed else None


def _judge_person(row: tuple[int, object, object, object], people: _People, plan: Plan) -> None:
    number, username, password, salt = row
    why = _why_no_person(username, password, salt, people)
    if why is not None:
        plan.skipped.append(Skipped("user", number, why))
        return
    person = OldPerson(_text(username), _text(password).lower(), _text(salt))
    name = fold(person.username)
    people.typed[name] = person.username
    known = people.here.get(name)
    if known is None:
        people.new.add(name)
        plan.people.append(person)
    elif known.is_legacy and known.legacy_salt == person.old_salt:
        plan.people_here += 1
    else:
        people.doubtful.add(name)
        why = (
            f"There is an account {_quoted(known.username)} here with a password of its own, by a sign-up, or by a "
            "log-in since an earlier import. It is left as it is."
        )
        plan.skipped.append(Skipped("user", number, why))


def _why_no_person(username: object, password: object, salt: object, people: _People) -> str | None:
    if not isinstance(username, str):
        return "The name is not a text."
    try:
        validate_username(username)
    except ValidationError as broken:
        return f"The name {_quoted(username)} breaks today's rules: {' '.join(broken.messages)}"
    twin = people.typed.get(fold(username))
    if twin is not None:
        return (
            f"The names {_quoted(username)} and {_quoted(twin)} are one name now, as case does not matter any more. "
            "The one that was first keeps it."
        )
    if not legacy.is_record(password_digest=_text(password).lower(), old_salt=_text(salt)):
        return f"The password of {_quoted(username)} is not a salt and a SHA-256 in hexadecimal digits."
    return None


def _judge_friendship(
    sender: object, friend: str | None, status: object, people: _People
) -> OldFriendship | str:
    """Or why it is not carried over."""
    if friend is None:
        return f"The name of a friend of {_quoted(sender)} does not open with this key."
    of_whom = f"(friendship of {_quoted(sender)} and {_quoted(friend)})"
    first, second = people.name_of(sender), people.name_of(friend)
    if first is None or second is None:
        return f"{_quoted(sender if first is None else friend)} is nobody who is carried over {of_whom}."
    if first == second:
        return f"{_quoted(sender)} is said to be their own friend."
    if status not in STATUSES:
        return f"The status {_quoted(status)} is none of the first version's {of_whom}."
    doubtful = {first, second} & people.doubtful
    if doubtful and {first, second} & people.new:
        return (
            f"The account {_quoted(people.typed[doubtful.pop()])} here may be somebody else's, so nobody is made its "
            f"friend; one can ask the other {of_whom}."
        )
    return OldFriendship(first, second, Status(str(status)))


def _as_one(rows: Sequence[OldFriendship]) -> OldFriendship:
    """There is one row for two people now: friends if any row says so or each asked the other, else asked, else rejected."""
    asked = [row for row in rows if row.status == Status.DEFAULT]
    friends = [row for row in rows if row.status == Status.APPROVE]
    if not friends and len({row.sender for row in asked}) == 2:
        friends = [asked[0]._replace(status=Status.APPROVE)]
    return (friends or asked or list(rows))[0]


def _open(key: Fernet, token: object) -> str | None:
    try:
        return key.decrypt(_text(token)).decode()
    except (InvalidToken, ValueError):
        return None


def _text(value: object) -> str:
    """A column may hold its text as bytes; what is neither is no name, digest, salt or token."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else ""


def _quoted(value: object) -> str:
    """Safe on a terminal, whatever the old database holds."""
    text = _text(value)
    return ascii(text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}...")
