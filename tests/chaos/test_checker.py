"""What the checker has to notice: in logs made by hand, and on servers that break a promise on purpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from bench.chaos.checker import (
    Acknowledged,
    Delivered,
    Evidence,
    Finding,
    Kind,
    PersonLog,
    StoredRow,
    check,
    digest_of,
)
from bench.chaos.lab import torment
from bench.chaos.run import Plan
from tests.chaos import broken

CONVERSATION = UUID(int=1)
TEXTS = ("one", "two", "three")


# By hand: side 0 wrote three messages, and both people saw them


def client_id(n: int) -> UUID:
    return UUID(int=100 + n)


def delivered(n: int, *, mine: bool, text: str = "") -> Delivered:
    digest = digest_of(text or TEXTS[n - 1])
    return Delivered(n, client_id(n), mine, digest, envelope_hash=f"e{n}", log_hash=f"l{n}")


@pytest.fixture
def honest() -> Evidence:
    numbers = range(1, len(TEXTS) + 1)
    author = PersonLog(
        written={client_id(n): digest_of(TEXTS[n - 1]) for n in numbers},
        acknowledged=[Acknowledged(client_id(n), n) for n in numbers],
        delivered=[delivered(n, mine=True) for n in numbers],
    )
    reader = PersonLog(delivered=[delivered(n, mine=False) for n in numbers])
    stored = [StoredRow(n, 0, client_id(n), f"e{n}", f"l{n}") for n in numbers]
    return Evidence(CONVERSATION, (author, reader), stored)


def kinds(evidence: Evidence) -> set[Kind]:
    return {finding.kind for finding in check([evidence])}


def test_what_went_well_is_not_complained_about(honest: Evidence) -> None:
    assert check([honest]) == []
    assert check([replace(honest, stored=None)]) == []


def test_an_acknowledged_message_that_is_not_stored_is_lost(honest: Evidence) -> None:
    assert honest.stored is not None

    assert kinds(replace(honest, stored=honest.stored[:2])) == {Kind.LOST}


@pytest.mark.parametrize("side", [0, 1])
def test_an_acknowledged_message_that_did_not_arrive_is_lost(honest: Evidence, side: int) -> None:
    honest.people[side].delivered.pop()

    assert check([honest]) == [
        Finding(
            Kind.LOST,
            CONVERSATION,
            f"{client_id(3)} of side 0 was acknowledged as [3] and not delivered to side {side}",
        )
    ]


def test_a_message_that_arrives_in_two_places_is_doubled(honest: Evidence) -> None:
    again = replace(delivered(3, mine=False), n=4, envelope_hash="e4", log_hash="l4")
    honest.people[1].delivered.append(again)

    assert kinds(honest) == {Kind.DOUBLED}


def test_a_row_that_is_delivered_again_is_doubled(honest: Evidence) -> None:
    honest.people[1].delivered.append(delivered(3, mine=False))

    assert kinds(honest) == {Kind.DOUBLED}


def test_a_message_that_is_stored_twice_is_doubled(honest: Evidence) -> None:
    stored = [*(honest.stored or ()), StoredRow(4, 0, client_id(3), "e4", "l4")]

    assert kinds(replace(honest, stored=stored)) == {Kind.DOUBLED}


def test_a_later_message_that_is_numbered_before_an_earlier_one_is_reordered(honest: Evidence) -> None:
    author = honest.people[0]
    author.written = dict(reversed(author.written.items()))

    assert kinds(honest) == {Kind.REORDERED}


def test_a_row_that_comes_after_a_later_one_is_reordered(honest: Evidence) -> None:
    rows = honest.people[1].delivered
    rows[1], rows[2] = rows[2], rows[1]

    assert Kind.REORDERED in kinds(honest)


def test_a_number_that_is_left_out_is_a_gap(honest: Evidence) -> None:
    stored = [replace(row, n=row.n + 10) if row.n == 3 else row for row in honest.stored or ()]

    assert Kind.GAP in kinds(replace(honest, stored=stored))


def test_a_second_answer_that_differs_from_the_first_is_noticed(honest: Evidence) -> None:
    honest.people[0].acknowledged.append(Acknowledged(client_id(1), 2))

    assert kinds(honest) == {Kind.CHANGED_ANSWER}


def test_an_answer_that_the_log_does_not_bear_out_is_noticed(honest: Evidence) -> None:
    honest.people[0].acknowledged[0] = Acknowledged(client_id(1), 7)

    assert kinds(honest) == {Kind.CHANGED_ANSWER}


def test_another_text_than_was_written_is_unreadable(honest: Evidence) -> None:
    honest.people[1].delivered[1] = delivered(2, mine=False, text="two, altered")

    assert kinds(honest) == {Kind.UNREADABLE}


def test_other_bytes_than_are_stored_are_noticed(honest: Evidence) -> None:
    honest.people[1].delivered[1] = replace(delivered(2, mine=False), envelope_hash="other")

    assert kinds(honest) == {Kind.UNREADABLE}


def test_a_message_that_nobody_wrote_is_forged(honest: Evidence) -> None:
    del honest.people[0].written[client_id(3)]
    honest.people[0].acknowledged.pop()

    assert kinds(honest) == {Kind.FORGED}


def test_an_alarm_is_a_false_one(honest: Evidence) -> None:
    honest.people[1].alarms.append("log_mismatch")

    assert kinds(honest) == {Kind.FALSE_ALARM}


def test_a_message_without_an_answer_is_stuck(honest: Evidence) -> None:
    honest.people[0].acknowledged.pop()

    assert kinds(honest) == {Kind.STUCK}


# On real servers that break a promise


def noticed(
    folder: Path,
    prepared: Path,
    *faults: str,
    promise: Callable[[], None] | None = None,
    catches_up: bool = True,
    database: str = "sqlite",
) -> set[Kind]:
    plan = Plan(
        messages=3_000,
        seconds=60,
        seed=1,
        rounds=4,
        pairs=2,
        clients=2,
        pace=0.1,
        faults=faults,
        settle_seconds=3,
        wrapper=broken.wrapper(promise) if promise else None,
        catches_up=catches_up,
    )
    return {finding.kind for finding in torment(database, folder, plan, prepared).findings}


def test_an_acknowledgement_before_the_commit_is_noticed(folder: Path, prepared: Path) -> None:
    assert Kind.LOST in noticed(folder, prepared, promise=broken.acknowledge_before_commit)


def test_missing_deduplication_is_noticed(folder: Path, prepared: Path) -> None:
    assert Kind.DOUBLED in noticed(folder, prepared, "connections cut", promise=broken.forget_client_ids)


def test_numbers_from_a_clock_are_noticed(folder: Path, prepared: Path) -> None:
    assert Kind.GAP in noticed(folder, prepared, promise=broken.number_by_a_clock)


def test_what_is_pushed_to_nobody_and_not_caught_up_is_noticed(folder: Path, prepared: Path) -> None:
    assert Kind.LOST in noticed(folder, prepared, "connections cut", catches_up=False)


def test_what_other_processes_are_not_told_is_noticed(folder: Path, prepared: Path) -> None:
    found = noticed(folder, prepared, promise=broken.keep_what_is_stored_to_oneself, database="postgresql")

    assert Kind.LOST in found  # What comes late may look like more than that.
