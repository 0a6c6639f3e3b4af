"""One run: people write to each other while everything goes wrong; then what they saw is compared with what is stored."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from bench.chaos.checker import Evidence, Finding, PersonLog, check, counts
from bench.chaos.client import Role
from bench.chaos.disk import Disk
from bench.chaos.faults import Torment
from bench.chaos.fleet import Fleet, allowance_in
from bench.chaos.journal import Entry, read_journal
from bench.chaos.people import Pair, make_pairs
from bench.chaos.site import PLAIN, OwnSite, Site

_LOOK_SECONDS = 0.25
_USUAL_START_SECONDS = 1.5
_WINDOWS = (1, 4, 16)


@dataclass(frozen=True)
class Plan:
    messages: int
    seconds: float
    """The limit of the run without its preparation and its end."""
    seed: int
    rounds: int = 20
    """At the end of each the faults stop, and everything has to arrive before the next one begins."""
    round_seconds: float = 0.0
    """A round's messages are let out evenly over so long, so that a short run meets something, too."""
    pairs: int = 5
    clients: int = 4
    """Client processes. Friends are never in the same one."""
    pace: float = 1.0
    """Stretches the pauses between the faults; a machine on which servers start slowly stretches them, too."""
    faults: Collection[str] | None = None
    """Only those of these names."""
    settle_seconds: float = 30.0
    """After the faults what was acknowledged has to arrive within this time, without anybody writing or reconnecting."""
    wrapper: Sequence[str] | None = None
    """A server that is broken on purpose, for the checker's own test."""
    catches_up: bool = True


@dataclass(frozen=True)
class Outcome:
    findings: list[Finding]
    figures: dict[str, Any]


def run(site: Site, plan: Plan, disk: Disk | None) -> Outcome:
    wrappers = (
        (plan.wrapper,) if plan.wrapper else (PLAIN, site.clocked) if isinstance(site, OwnSite) else (PLAIN,)
    )
    began = time.monotonic()
    site.start(wrappers[-1])
    # Where servers start slowly faults come later, and rounds are longer.
    slowness = max(1.0, (time.monotonic() - began) / (_USUAL_START_SECONDS * len(site.processes)))
    making = make_pairs(plan.pairs, origin=site.origin, ca_file=site.ca_file, folder=site.folder)
    pairs = asyncio.run(making)
    fleet = Fleet(site.folder, _roles(site, plan, pairs))
    plan = replace(plan, pace=plan.pace * slowness, round_seconds=plan.round_seconds * slowness)
    torment = Torment(site, fleet, disk, wrappers, seed=plan.seed, pace=plan.pace, only=plan.faults)
    began = time.monotonic()
    fleet.allow(0)
    fleet.start()
    settled: list[float] = []
    try:
        complete = all(_round(number, fleet, torment, plan, began, settled) for number in range(plan.rounds))
        ended = time.monotonic()
        crashed = fleet.failed()
    finally:
        fleet.stop()
    site.stop()
    if torment.errors:
        raise RuntimeError("A fault could not be done.") from torment.errors[0]
    if crashed and not any(one.alarms for one in fleet.progress):
        last = (site.folder / "clients.log").read_text(encoding="utf-8").splitlines()[-15:]
        raise RuntimeError("A client ended by itself:\n" + "\n".join(last))
    journals = {one.role.journal: read_journal(Path(one.role.journal)) for one in fleet.progress}
    stored = site.stored()
    evidence = [
        Evidence(
            pair.conversation,
            _logs(pair, journals),
            None if stored is None else stored.get(pair.conversation, []),
        )
        for pair in pairs
    ]
    findings = check(evidence)
    return Outcome(
        findings,
        {
            "complete": complete,
            "seed": plan.seed,
            "messages": sum(len(log.written) for one in evidence for log in one.people),
            "acknowledged": sum(len(one.acknowledged) for one in fleet.progress),
            "pace": round(plan.pace, 2),
            "seconds": round(ended - began, 1),
            "rounds": len(settled),
            "longest_until_settled_seconds": round(max(settled, default=0), 2),
            "findings": counts(findings),
            "faults": torment.counts(),
            "clients": _clients(journals.values()),
            "recovery": _recovery(site, torment, journals.values()),
        },
    )


def _roles(site: Site, plan: Plan, pairs: Sequence[Pair]) -> list[list[Role]]:
    """Friends are on different servers, where there are several."""
    random = Random(plan.seed)
    roles: list[list[Role]] = [[] for _ in range(plan.clients)]
    for index, pair in enumerate(pairs):
        for side in (0, 1):
            server = side % len(site.processes)
            role = Role(
                state=str(pair.states[side]),
                journal=str(pair.states[side].with_suffix(".journal")),
                friend=pair.names[1 - side],
                at=site.processes[server].url,
                server=server,
                allowance=str(allowance_in(site.folder)),
                window=random.choice(_WINDOWS),
                seed=plan.seed,
                catches_up=plan.catches_up,
            )
            roles[(2 * index + side) % plan.clients].append(role)
    return [people for people in roles if people]


def _round(
    number: int, fleet: Fleet, torment: Torment, plan: Plan, began: float, settled: list[float]
) -> bool:
    """Whether everything that was to be written was acknowledged, and then delivered."""
    before, after = (plan.messages * n // (plan.rounds * 2 * plan.pairs) for n in (number, number + 1))
    start = time.monotonic()

    def is_done(fleet: Fleet) -> bool:
        part = min(1.0, (time.monotonic() - start) / plan.round_seconds) if plan.round_seconds else 1.0
        fleet.allow(before + round((after - before) * part))
        return part == 1.0 and _all_acknowledged(fleet)

    torment.start(number)
    try:
        all_acknowledged = _watch(fleet, is_done, plan.seconds - (start - began))
    finally:
        torment.stop()
    calm = time.monotonic()
    all_delivered = _watch(fleet, _all_delivered, plan.settle_seconds)
    settled.append(time.monotonic() - calm)
    return all_acknowledged and all_delivered


def _watch(fleet: Fleet, is_done: Callable[[Fleet], bool], seconds: float) -> bool:
    """Until it is done, or cannot be any more; says now and then how far it is."""
    began = time.monotonic()
    while not is_done(fleet):
        if time.monotonic() - began > seconds or fleet.failed() or any(one.alarms for one in fleet.progress):
            return False
        fleet.say_how_far()
        time.sleep(_LOOK_SECONDS)
        fleet.look()
    return True


def _all_acknowledged(fleet: Fleet) -> bool:
    return all(len(one.acknowledged) >= fleet.allowed for one in fleet.progress)


def _all_delivered(fleet: Fleet) -> bool:
    by_state = {Path(one.role.state).stem: one for one in fleet.progress}
    return all(
        one.delivered >= len(one.acknowledged) + len(by_state[one.role.friend].acknowledged)
        for one in fleet.progress
    )


def _logs(pair: Pair, journals: Mapping[str, Sequence[Entry]]) -> tuple[PersonLog, PersonLog]:
    first, second = (PersonLog.of(journals[str(state.with_suffix(".journal"))]) for state in pair.states)
    return first, second


def _clients(journals: Iterable[Sequence[Entry]]) -> dict[str, Any]:
    entries = [entry for journal in journals for entry in journal]
    events = Counter(entry["event"] for entry in entries)
    return {
        "lives": events["began"],
        "connections": events["connected"],
        "acknowledged_by": Counter(e["how"] for e in entries if e["event"] == "acknowledged"),
        "delivered_by": Counter(e["how"] for e in entries if e["event"] == "delivered"),
        "refused": Counter(e["code"] for e in entries if e["event"] == "refused"),
    }


def _recovery(site: Site, torment: Torment, journals: Iterable[Sequence[Entry]]) -> dict[str, Any]:
    """Seconds from the start of a server process after its kill to the first acknowledgement that a client had from it."""
    answers = sorted(
        (entry["at"], entry["connected_at"], entry["server"])
        for journal in journals
        for entry in journal
        if entry["event"] == "acknowledged" and entry["how"] == "answer"
    )
    took, undisturbed = [], []
    for number, process in enumerate(site.processes):
        for start in process.starts:
            first = next((at for at, since, server in answers if server == number and since > start), None)
            if first is None or any(start < other < first for other in process.starts):
                continue
            took.append(first - start)
            if not torment.delayed_answers(start, first):
                undisturbed.append(first - start)
    return {"all": _spread(took), "without_another_fault": _spread(undisturbed)}


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {"count": 0}
    median, longest = statistics.median(seconds), max(seconds)
    return {"count": len(seconds), "median_seconds": round(median, 2), "longest_seconds": round(longest, 2)}
