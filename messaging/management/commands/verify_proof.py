"""`manage.py verify_proof FILE`: do both people's signatures fit the messages that a proof file lists?"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from messaging import proofs
from messaging.proofs import NotAProof, ProofReport, Signatory
from securechat.management.explained import ExplainedCommand

DOES_NOT_HOLD, NOT_CHECKED = 1, 2
EXAMPLES = """
examples:
  manage.py verify_proof securechat-proof-bob-2026-07-01.json          a file that “Export proof” saved
  manage.py verify_proof --json securechat-proof-bob-2026-07-01.json   for programs
  manage.py verify_proof - < proof.json                                from standard input

Nothing is asked of any server and nothing is read from the database: the file, and this program, are all it takes.

What it shows: the holders of these keys signed for the same messages, in the same order, up to the numbers named.
What it cannot show:
  who holds the keys     compare the safety number with the one on the two people's screens
  what the messages say  the file has their fingerprints alone
  when that was          nobody signs for the time of the export, and what came later is not in the file

exit codes: 0 the proof holds; 1 it does not hold, and why; 2 it could not be checked, and why.
"""


class Command(ExplainedCommand):
    help = "Checks a proof file offline: both signed heads, both key chains, and the fingerprints of all messages."
    requires_system_checks = []
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="the proof; - for standard input")
        parser.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = proofs.check_proof(_read(options["file"]))
        except NotAProof as problem:
            raise CommandError(f"Not checked. {problem}", returncode=NOT_CHECKED) from None
        if options["json"]:
            self.stdout.write(json.dumps(_for_programs(report), indent=1))
        elif report.holds:
            self._report(report)
        if not report.holds:
            problems = "\n".join(report.problems)
            raise CommandError(f"The proof does not hold.\n{problems}", returncode=DOES_NOT_HOLD)

    def _report(self, report: ProofReport) -> None:
        self.stdout.write(f"The proof holds. {_result(report)}\n\n")
        self.stdout.write(f"Server         {report.origin}")
        self.stdout.write(f"Conversation   {report.conversation}")
        self.stdout.write(f"Exported       {_time(report.exported_at)}; nobody signs for this")
        self.stdout.write(f"Safety number  {report.safety_number}")
        for note in _notes(report):
            self.stdout.write(f"\n{note}")


def _read(name: str) -> bytes:
    """One byte more than a proof can have, at most."""
    limit = proofs.MAX_PROOF_BYTES + 1
    if name == "-":
        return sys.stdin.buffer.read(limit)
    try:
        with Path(name).open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise CommandError(
            f"Not checked. The file cannot be read: {error.strerror}.", returncode=NOT_CHECKED
        ) from None


def _result(report: ProofReport) -> str:
    one, other = report.people
    if one.confirmed == other.confirmed:
        return f"{one.name} and {other.name} confirmed the same {_messages(one.confirmed or 0)}, in the same order."
    return f"Of {_messages(report.messages)}, {_confirmed(one)} and {_confirmed(other)}."


def _confirmed(person: Signatory) -> str:
    if person.confirmed is None:
        return f"{person.name} signed for none"
    return f"{person.name} confirmed the first {person.confirmed}"


def _messages(count: int) -> str:
    return f"{count} message" if count == 1 else f"{count} messages"


def _notes(report: ProofReport) -> list[str]:
    notes = [
        "It holds for whoever has these keys: they are those of two people if this safety number is the one on their screens."
    ]
    unsigned = report.messages - max(person.confirmed or 0 for person in report.people)
    if unsigned:
        notes.append(f"Nobody has signed for the last {_messages(unsigned)} of the file.")
    for person in report.people:
        if person.identity_changes:
            notes.append(
                f"{person.name} started fresh {_times(person.identity_changes)}: "
                "the safety number is of the keys that signed."
            )
        if person.has_ended:
            notes.append(
                f"The browser that signed for {person.name} was signed out later; "
                "the file cannot show that it signed before."
            )
    return notes


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _time(milliseconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(milliseconds // 1000, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return "at no time that a calendar has"


def _for_programs(report: ProofReport) -> dict[str, Any]:
    return {
        "holds": report.holds,
        "problems": list(report.problems),
        "origin": report.origin,
        "conversation": str(report.conversation),
        "exported_at": report.exported_at,
        "messages": report.messages,
        "safety_number": report.safety_number,
        "people": [
            {
                "name": person.name,
                "confirmed": person.confirmed,
                "fingerprint": person.fingerprint.hex(),
                "browser_signed_out_later": person.has_ended,
                "identity_changes": person.identity_changes,
                "key_chain_entries": person.chain_entries,
            }
            for person in report.people
        ],
    }
