"""`manage.py audit_verify`: is the audit trail what was appended to it? And a copy of it for elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError

from securechat import audit
from securechat.audit import AuditEvent, BrokenChain
from securechat.management.explained import ExplainedCommand

BROKEN, NOT_CHECKED = 1, 2
_PROGRESS_EVENTS = 10_000
EXAMPLES = """
examples:
  manage.py audit_verify                            check every event, and print the head
  manage.py audit_verify --expect 17:5f1c…          and that the head you kept is still in the trail
  manage.py audit_verify --export trail.jsonl       write what was checked, one JSON object a line; - is standard output
  manage.py audit_verify --json                     for programs

A chain shows what was changed and what was removed from its middle. Events removed from its end it cannot show, nor a whole
new chain: who can write to the database can make either. So keep the head that this prints where the operators of the
server cannot write, and give it to --expect the next time.

In an export, "hash" is the SHA-256 of the object without "hash", as JSON with sorted keys, no spaces, and \\u escapes.

exit codes: 0 the trail is whole; 1 it is not, or a guard of the database is off; 2 it could not be checked.
"""


class Command(ExplainedCommand):
    help = "Checks that no event of the audit trail was changed or removed. Changes nothing."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--expect", metavar="N:HASH", help="a head that was printed earlier")
        parser.add_argument("--export", metavar="FILE", help="write the events to it; it must not exist")
        parser.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        expected = _parsed_head(options["expect"]) if options["expect"] else None
        try:
            with self._export_to(options["export"]) as export:
                head, problem = self._walk(expected, export)
            problem = problem or _problem_of_guards()
        except DatabaseError as error:
            raise CommandError(
                f"The trail cannot be read: {str(error).splitlines()[0]}", returncode=NOT_CHECKED
            ) from None
        self._report(head, problem, as_json=options["json"], to_stderr=options["export"] == "-")
        if problem:
            raise CommandError(problem, returncode=BROKEN)

    def _walk(
        self, expected: tuple[int, str] | None, export: TextIO | None
    ) -> tuple[AuditEvent | None, str | None]:
        """The last good event, and what is wrong after it."""
        head, found = None, expected in (None, (0, audit.GENESIS))
        try:
            for event in audit.verified():
                head = event
                found = found or (event.n, event.hash) == expected
                if export:
                    export.write(json.dumps(event.as_dict(), sort_keys=True) + "\n")
                if event.n % _PROGRESS_EVENTS == 0:
                    self.stderr.write(f"{event.n} events are good so far")
        except BrokenChain as broken:
            return head, str(broken)
        return (
            head,
            None if found else "The head that you kept is not in the trail: its end was removed or replaced.",
        )

    @contextmanager
    def _export_to(self, name: str | None) -> Iterator[TextIO | None]:
        if not name or name == "-":
            yield self.stdout if name else None  # type: ignore[misc]  # A wrapper that can write.
            return
        try:
            Path(name).touch(mode=0o600, exist_ok=False)
        except OSError as error:
            raise CommandError(f"{name}: {error.strerror}.", returncode=NOT_CHECKED) from None
        with Path(name).open("w", encoding="ascii") as file:
            yield file

    def _report(
        self, head: AuditEvent | None, problem: str | None, *, as_json: bool, to_stderr: bool
    ) -> None:
        out = self.stderr if to_stderr else self.stdout
        shown = f"{head.n}:{head.hash}" if head else f"0:{audit.GENESIS}"
        if as_json:
            out.write(json.dumps({"whole": problem is None, "head": shown, "problem": problem}))
            return
        count = head.n if head else 0
        out.write(f"{count} {'event is' if count == 1 else 'events are'} good.")
        out.write(f"Head  {shown}")


def _problem_of_guards() -> str | None:
    off = audit.guards_that_are_off()
    if not off:
        return None
    return f"Guards of the database are off ({', '.join(off)}): the trail could have been changed unseen."


def _parsed_head(text: str) -> tuple[int, str]:
    if not re.fullmatch(r"[0-9]{1,18}:[0-9a-f]{64}", text):
        raise CommandError("--expect takes a head as this command prints it, N:HASH.", returncode=NOT_CHECKED)
    n, _, digest = text.partition(":")
    return int(n), digest
