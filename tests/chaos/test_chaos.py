"""A short run of `make chaos`: everything goes wrong for half a minute, and every message arrives once and in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.chaos.lab import DATABASES, torment
from bench.chaos.run import Plan

# The limit is for a busy machine.
PLAN = Plan(messages=960, seconds=400, seed=6, rounds=2, round_seconds=6, pairs=3, clients=2, pace=0.5)


@pytest.mark.parametrize("database", DATABASES)
def test_every_acknowledged_message_arrives_once_and_in_order_whatever_breaks(
    database: str, folder: Path, prepared: Path
) -> None:
    outcome = torment(database, folder, PLAN, prepared)

    assert outcome.findings == []
    assert outcome.figures["complete"]
    assert outcome.figures["messages"] == PLAN.messages
    assert outcome.figures["faults"]["server killed"] >= 1
    assert outcome.figures["faults"]["client killed"] >= 1
    assert outcome.figures["faults"]["connections cut"] >= 1
