"""The tables of docs/operations.md, docs/going-further.md and bench/README.md, made from what the other measurements wrote down.

python -m bench.sizing            writes them; a figure that was not measured yet is an estimate, and says so
"""
# ruff: noqa: RUF001 - the sign of multiplication

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from bench.results import RESULTS

DOCS = Path(__file__).resolve().parents[1] / "docs"
PEOPLE = (1_000_000, 10_000_000, 100_000_000)
MESSAGES_A_DAY = 40  # That one person sends.
BUSIEST_HOUR = 0.1  # Of a day's messages.
PEAK_OVER_HOUR = 2  # The busiest second against that hour's average.
ONLINE = 0.2  # Of all people at once, with one socket each.
SOCKETS_A_PROCESS = 10_000  # MAX_CONNECTIONS.
LOAD = 0.5  # Of what was measured as the most, so that half of the machines can carry it.
RENEWALS_A_SECOND = 1 / 4  # Of a socket's presence: PRESENCE_RENEW_SECONDS.
DATABASE_CORES = 8
DATABASE_TERABYTES = 20


def main() -> None:
    _replace(DOCS / "operations.md", "sizing", sizing_table())
    _replace(DOCS / "going-further.md", "arithmetic", arithmetic_table())
    _replace(RESULTS.parent / "README.md", "goals", goals_table())


def measured(file: str, *keys: str, goal: float) -> tuple[float, str]:
    """The figure and where it is from."""
    try:
        found = json.loads((RESULTS / f"{file}.json").read_text(encoding="utf-8"))["figures"]
        for key in keys:
            found = found[key]
    except (FileNotFoundError, KeyError):
        return goal, "estimate, not measured yet"
    return float(found), f"`bench/results/{file}.json`"


def sizing_table() -> list[str]:
    rows = [
        ("messages delivered a second by one process on one core", "", measured("throughput", "securechat", "messages_per_second", goal=8_000)),
        ("the same on PostgreSQL", "", measured("cluster", "one", "messages_per_second", goal=8_000)),
        ("CPU of a process for each message", " µs", measured("throughput", "securechat", "server_cpu_microseconds_each", goal=100)),
        ("CPU of PostgreSQL for each message", " µs", measured("cluster", "one", "postgresql_cpu_microseconds_each", goal=80)),
        ("two processes on two cores against one, on PostgreSQL", " times", measured("cluster", "times_as_many", goal=1.6)),
        ("the same by what a message costs them, as if nothing else needed a core", " times", measured("cluster", "times_as_many_by_cpu", goal=1.6)),
        ("memory of a process without sockets", " MB", measured("guards_securechat", "nothing", "before_megabytes", goal=110)),
        ("memory of an idle socket", " bytes", measured("throughput", "idle_socket_bytes", goal=75_000)),
        ("disk of a message of 1 kB in PostgreSQL, with indexes", " bytes", measured("cluster", "postgresql_bytes_each", goal=1_640)),
        ("checking a log-in", " µs", measured("log_in_cost", "securechat_microseconds", goal=100)),
    ]  # fmt: skip
    lines = [f"| {what} | {_number(value)}{unit} | {source} |" for what, unit, (value, source) in rows]
    return ["| What | Figure | From |", "| --- | --- | --- |", *lines]


def goals_table() -> list[str]:
    """What was asked, and what the recorded runs say: also where that is less."""
    rows = [
        ("messages a second, against the better of Prosody and ejabberd", "5 times", "times", measured("throughput", "ratios", "securechat_over_better_of_prosody_and_ejabberd", goal=0)),
        ("… with autobahn's own parser and writer of frames", "4 times", "times", measured("throughput", "ratios", "securechat_stock_frames_over_better_of_prosody_and_ejabberd", goal=0)),
        ("against ejabberd, both on PostgreSQL", "8 times", "times", measured("throughput", "ratios", "securechat_postgresql_over_ejabberd_postgresql", goal=0)),
        ("against the tutorial's consumer", "10 times", "times", measured("throughput", "ratios", "securechat_over_tutorial", goal=0)),
        ("against a relay that stores nothing", "0.5 times", "times", measured("throughput", "ratios", "securechat_over_relay", goal=0)),
        ("p50 at 200 a second", "not above Prosody's", "ms", measured("throughput", "securechat", "p50_milliseconds", goal=0)),
        ("… Prosody's", "", "ms", measured("throughput", "prosody", "p50_milliseconds", goal=0)),
        ("memory of an idle socket", "at most 75,000", "bytes", measured("throughput", "idle_socket_bytes", goal=0)),
        ("messages a second with 8 ms more for each fsync, SQLite", "4,000", "", measured("slow_disk", "securechat", "messages_per_second", goal=0)),
        ("… PostgreSQL", "4,000", "", measured("slow_disk", "securechat_postgresql", "messages_per_second", goal=0)),
        ("two processes on two cores against one", "1.6 times", "times", measured("cluster", "times_as_many", goal=0)),
        ("5,000 people with 50 friends each are online within", "30 s", "s", measured("presence", "seconds_until_all_were_there", goal=0)),
        ("longest recovery of a killed process with nothing else broken, SQLite", "3 s", "s", measured("chaos", "sqlite", "recovery", "without_another_fault", "longest_seconds", goal=0)),
        ("… PostgreSQL", "3 s", "s", measured("chaos", "postgresql", "recovery", "without_another_fault", "longest_seconds", goal=0)),
    ]  # fmt: skip
    lines = [
        f"| {what} | {goal} | {f'{value:,.0f}' if value >= 100 else f'{value:g}'} {unit}".rstrip()
        + f" | {source} |"
        for what, goal, unit, (value, source) in rows
    ]
    return ["| What | Goal | Recorded | From |", "| --- | --- | --- | --- |", *lines]


def arithmetic_table() -> list[str]:
    rate, rate_from = measured("throughput", "securechat", "messages_per_second", goal=8_000)
    socket, socket_from = measured("throughput", "idle_socket_bytes", goal=75_000)
    stored, stored_from = measured("cluster", "postgresql_bytes_each", goal=1_640)
    of_bytes, _ = measured("cluster", "envelope_bytes", goal=1_024)
    envelope, envelope_from = measured("browser_crypto", "shortEnvelopeBytes", goal=454)
    storing, storing_from = measured("cluster", "one", "postgresql_cpu_microseconds_each", goal=80)
    hearing, hearing_from = measured("cluster", "hearing_microseconds_each", goal=50)
    cost_of_one, _ = measured("cluster", "one", "server_cpu_microseconds_each", goal=90)
    cost_of_two, crossing_from = measured("cluster", "two", "server_cpu_microseconds_each", goal=140)
    crossing = 2 * (cost_of_two - cost_of_one)
    renewing, renewing_from = measured("cluster", "renewal_microseconds_each", goal=2)
    present, present_from = measured("cluster", "presence_bytes_each", goal=160)
    row = stored - of_bytes + envelope
    frame = envelope * 4 / 3 + 250
    peak = [people * MESSAGES_A_DAY * BUSIEST_HOUR / 3600 * PEAK_OVER_HOUR for people in PEOPLE]
    sockets = [people * ONLINE for people in PEOPLE]
    by_sockets = [math.ceil(count / SOCKETS_A_PROCESS) for count in sockets]
    by_messages = [math.ceil(second * (1 / rate + crossing / 1e6) / LOAD) for second in peak]
    processes = list(map(max, by_sockets, by_messages))
    disk = [people * MESSAGES_A_DAY * 365 * row / 1e12 for people in PEOPLE]
    by_cores = [math.ceil(second * storing / 1e6 / DATABASE_CORES / LOAD) for second in peak]
    by_disk = [math.ceil(year / DATABASE_TERABYTES) for year in disk]
    renewals = [count * RENEWALS_A_SECOND for count in sockets]
    given = [
        f"r, messages a second of one process: {_number(rate)} ({rate_from})",
        f"s, bytes of an idle socket: {_number(socket)} ({socket_from})",
        f"e, bytes of the envelope of a short message: {_number(envelope)} ({envelope_from})",
        f"d, bytes on disk of its row with indexes: {_number(stored)} − {_number(of_bytes)} + e = {_number(row)} ({stored_from})",
        f"f, bytes of a frame: e × 4/3 + 250 = {_number(frame)} (base64 and JSON, protocol.md section 7)",
        f"q, µs of PostgreSQL's CPU to store a message: {_number(storing)} ({storing_from})",
        f"h, µs of a process's CPU to hear that a message was stored elsewhere: {_number(hearing)} ({hearing_from})",
        f"x, µs of the processes' CPU that a message costs more where its two people are on different ones: 2 × ({_number(cost_of_two)} − {_number(cost_of_one)}) = {_number(crossing)}, as half of the pairs of two processes are ({crossing_from})",
        f"v, µs of Redis's CPU to renew a socket's presence: {_number(renewing)} ({renewing_from})",
        f"b, bytes of a socket's presence in Redis: {_number(present)} ({present_from})",
    ]
    rows: list[tuple[str, str, Sequence[str]]] = [
        ("messages a day", f"people × {MESSAGES_A_DAY}", _all([p * MESSAGES_A_DAY for p in PEOPLE])),
        ("messages in the busiest second, m", f"day × {BUSIEST_HOUR:g} / 3,600 s × {PEAK_OVER_HOUR}", _all(peak)),
        ("sockets, k", f"people × {ONLINE:g}", _all(sockets)),
        ("processes by sockets", f"k / {SOCKETS_A_PROCESS:,}", _all(by_sockets)),
        ("processes by messages, all between two of them", f"m × (1/r + x) / {LOAD:g}", _all(by_messages)),
        ("**processes**, p", "the larger of both", _all(processes)),
        ("memory of their sockets, GB", "k × s", _all([k * socket / 1e9 for k in sockets])),
        ("network in and out, MB/s", "m × 3 × f (sent, delivered, acknowledged)", _all([m * 3 * frame / 1e6 for m in peak])),
        ("cores of PostgreSQL", "m × q", _all([m * storing / 1e6 for m in peak])),
        ("disk a year, TB", "day × 365 × d", _all(disk)),
        ("databases by cores", f"m × q / ({DATABASE_CORES} × {LOAD:g})", _all(by_cores)),
        ("databases by a year's disk", f"disk / {DATABASE_TERABYTES}", _all(by_disk)),
        ("**databases**", "the larger of both", _all(list(map(max, by_cores, by_disk)))),
        ("presence: renewals a second", "k / 4", _all(renewals)),
        ("cores of Redis for them", "renewals × v", _all([one * renewing / 1e6 for one in renewals])),
        ("**Redis for presence**, each one core", f"renewals × v / {LOAD:g}", _all([math.ceil(one * renewing / 1e6 / LOAD) for one in renewals])),
        ("their memory, MB", "k × b", _all([k * present / 1e6 for k in sockets])),
        ("doorbell: rings that Redis passes on a second", "m × p, at one message a ring", _all([m * p for m, p in zip(peak, processes, strict=True)])),
        ("**of each process's core, for hearing all rings**", "m × h", [f"{m * hearing / 1e6:.0%}" for m in peak]),
    ]  # fmt: skip
    head = " | ".join(f"{people // 1_000_000} million" for people in PEOPLE)
    return [
        *(f"- {line}" for line in given),
        "",
        f"| | Sum | {head} |",
        "| --- | --- |" + " ---: |" * len(PEOPLE),
        *(f"| {what} | {how} | {' | '.join(values)} |" for what, how, values in rows),
    ]


def _all(values: Sequence[float]) -> list[str]:
    return [_number(value) for value in values]


def _number(value: float) -> str:
    """Two places that count, below 100; no more than whole ones above."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2g}"


def _replace(page: Path, name: str, lines: Sequence[str]) -> None:
    text = page.read_text(encoding="utf-8")
    begin, end = f"<!-- bench.sizing: {name} -->\n", f"<!-- bench.sizing: {name}, end -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    assert after, page
    page.write_text(f"{before}{begin}\n" + "\n".join(lines) + f"\n\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
