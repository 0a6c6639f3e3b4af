"""Writes what the attack suite shows into docs/threat-model.md: ``python -m tests.attacks.table``."""

from __future__ import annotations

from pathlib import Path

from tests.attacks.test_attacks import ATTACKS

FILE = Path(__file__).parents[2] / "docs" / "threat-model.md"
BEGIN, END = "<!-- tests/attacks: begin -->", "<!-- tests/attacks: end -->"


def table() -> str:
    rows = [
        f"| {one.does[0].upper()}{one.does[1:]} | {_shown(one.seen)} | {one.when} |"
        for one in ATTACKS.values()
    ]
    return "\n".join(["| The server … | The screen says | Seen |", "| --- | --- | --- |", *rows])


def with_table(document: str) -> str:
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def _shown(text: str) -> str:
    return f"`{text}`" if text.startswith("<") else f"“{text.removesuffix('.')}”"


if __name__ == "__main__":
    FILE.write_text(with_table(FILE.read_text()))
