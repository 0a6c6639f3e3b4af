"""Did every message that was acknowledged arrive exactly once, in order, without a gap, and readable?

From what both people's clients wrote down and what is stored. Pure functions: the same for a real run and for one made by hand.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from bench.chaos.journal import Entry


class Kind(StrEnum):
    LOST = "lost"
    """Acknowledged and not stored, not delivered, or stored as something else."""
    DOUBLED = "doubled"
    REORDERED = "reordered"
    GAP = "gap"
    """A number that no message has, where larger ones exist."""
    CHANGED_ANSWER = "changed answer"
    """Two acknowledgements of one message, or one and the database, name different numbers."""
    UNREADABLE = "unreadable"
    """Delivered with another content than was written, or other bytes than were stored."""
    FORGED = "forged"
    """Stored or delivered, and nobody wrote it."""
    FALSE_ALARM = "false alarm"
    """A check of a client failed, though nobody lied."""
    STUCK = "stuck"
    """Written and never acknowledged, though the faults were over."""


@dataclass(frozen=True)
class Finding:
    kind: Kind
    conversation: UUID
    what: str


@dataclass(frozen=True)
class Acknowledged:
    client_id: UUID
    n: int


@dataclass(frozen=True)
class Delivered:
    """A row that passed every check of this client; ``digest`` is of the decrypted text."""

    n: int
    client_id: UUID
    mine: bool
    digest: str
    envelope_hash: str
    log_hash: str


@dataclass
class PersonLog:
    """In the order in which it happened, over all lives of the client."""

    written: dict[UUID, str] = field(default_factory=dict)
    """Digest of the text, by client id, in the order of writing."""
    acknowledged: list[Acknowledged] = field(default_factory=list)
    delivered: list[Delivered] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> PersonLog:
        log = cls()
        for entry in entries:
            match entry["event"]:
                case "written":
                    log.written[UUID(entry["client_id"])] = digest_of(entry["text"])
                case "acknowledged":
                    log.acknowledged.append(Acknowledged(UUID(entry["client_id"]), entry["n"]))
                case "delivered":
                    names = ("n", "mine", "digest", "envelope_hash", "log_hash")
                    values = {name: entry[name] for name in names}
                    log.delivered.append(Delivered(client_id=UUID(entry["client_id"]), **values))
                case "alarm":
                    log.alarms.append(entry["code"])
        return log


@dataclass(frozen=True)
class StoredRow:
    n: int
    side: int
    client_id: UUID
    envelope_hash: str
    log_hash: str


@dataclass(frozen=True)
class Evidence:
    """``people`` by side; ``stored`` by ``n``, None where the database cannot be looked into."""

    conversation: UUID
    people: tuple[PersonLog, PersonLog]
    stored: Sequence[StoredRow] | None


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def check(evidence: Iterable[Evidence]) -> list[Finding]:
    return [
        Finding(kind, one.conversation, what)
        for one in evidence
        for findings in (_acknowledged, _stored, _delivered, _alarms)
        for kind, what in findings(one)
    ]


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """Of every kind, also of those that did not occur."""
    found = Counter(finding.kind for finding in findings)
    return {kind.value: found[kind] for kind in Kind}


_Found = Iterator[tuple[Kind, str]]
_Message = tuple[int, UUID]
"""The side of its author, and the client id."""


def _acknowledged(evidence: Evidence) -> _Found:
    places = [(f"delivered to side {side}", _delivered_to(evidence, side)) for side in (0, 1)]
    if evidence.stored is not None:
        places.append(("stored", _places(((row.side, row.client_id), row.n) for row in evidence.stored)))
    for side, person in enumerate(evidence.people):
        answers = _places(((side, answer.client_id), answer.n) for answer in person.acknowledged)
        for client_id in person.written:
            if (side, client_id) not in answers:
                yield Kind.STUCK, f"{client_id} of side {side} was never acknowledged"
        for message, numbers in answers.items():
            if len(set(numbers)) > 1:
                yield Kind.CHANGED_ANSWER, f"{message[1]} was acknowledged as {numbers}"
            for how, found in places:
                yield from _kept(message, numbers, how, found.get(message, []))


def _kept(message: _Message, acknowledged: list[int], how: str, found: list[int]) -> _Found:
    side, client_id = message
    if not found:
        yield Kind.LOST, f"{client_id} of side {side} was acknowledged as {acknowledged} and not {how}"
    elif not set(acknowledged) & set(found):
        yield Kind.CHANGED_ANSWER, f"{client_id} was acknowledged as {acknowledged} and {how} as {found}"


def _stored(evidence: Evidence) -> _Found:
    if evidence.stored is not None:
        messages = [(row.n, (row.side, row.client_id)) for row in evidence.stored]
        yield from _sequence(evidence, messages, "stored")


def _delivered(evidence: Evidence) -> _Found:
    stored = {row.n: row for row in evidence.stored or ()}
    for side, person in enumerate(evidence.people):
        how = f"delivered to side {side}"
        rows = [(row, _author(side, row)) for row in person.delivered]
        yield from _sequence(evidence, [(row.n, (author, row.client_id)) for row, author in rows], how)
        for row, author in rows:
            written = evidence.people[author].written.get(row.client_id)
            if written is not None and written != row.digest:
                yield Kind.UNREADABLE, f"{row.client_id} was {how} with another text"
            kept = stored.get(row.n)
            if kept and (kept.envelope_hash, kept.log_hash) != (row.envelope_hash, row.log_hash):
                yield Kind.UNREADABLE, f"{row.client_id} was {how} as {row.n}, where other bytes are stored"


def _sequence(evidence: Evidence, messages: Sequence[tuple[int, _Message]], how: str) -> _Found:
    """What must hold for every list of a conversation's messages: each once, 1, 2, 3 …, each author's as written."""
    before = 0
    seen: set[_Message] = set()
    last_written = [-1, -1]
    orders = [{client_id: k for k, client_id in enumerate(one.written)} for one in evidence.people]
    for n, message in messages:
        side, client_id = message
        if n > before + 1:
            yield Kind.GAP, f"after {before} comes {n} among what is {how}"
        elif n <= before:
            yield (Kind.DOUBLED if n == before else Kind.REORDERED), f"{n} comes after {before}, {how}"
        before = max(before, n)
        if message in seen:
            yield Kind.DOUBLED, f"{client_id} of side {side} is {how} twice, again as {n}"
        seen.add(message)
        written = orders[side].get(client_id)
        if written is None:
            yield Kind.FORGED, f"{client_id} is {how} as {n}, and side {side} did not write it"
        else:
            if written < last_written[side]:
                yield Kind.REORDERED, f"{client_id} is {how} as {n}, after a later one of side {side}"
            last_written[side] = max(last_written[side], written)


def _alarms(evidence: Evidence) -> _Found:
    for side, person in enumerate(evidence.people):
        for code in person.alarms:
            yield Kind.FALSE_ALARM, f"{code} on side {side}"


def _delivered_to(evidence: Evidence, side: int) -> dict[_Message, list[int]]:
    rows = evidence.people[side].delivered
    return _places(((_author(side, row), row.client_id), row.n) for row in rows)


def _author(reader: int, row: Delivered) -> int:
    return reader if row.mine else 1 - reader


def _places(pairs: Iterable[tuple[_Message, int]]) -> dict[_Message, list[int]]:
    places: dict[_Message, list[int]] = {}
    for message, n in pairs:
        places.setdefault(message, []).append(n)
    return places
