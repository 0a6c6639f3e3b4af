"""`manage.py prune`: removes what has outlived its time."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError
from django.utils import timezone

from messaging.services.retention import outlived, prune
from securechat import audit
from securechat.management.explained import ExplainedCommand

EXAMPLES = """
examples:
  manage.py prune --dry-run      what would be removed, and how much of it
  manage.py prune                each night, by securechat-tidy.timer
  manage.py prune --json         for programs

It removes sessions that are over, reports that were closed REPORT_KEPT_DAYS ago with their evidence, requests that were refused
REFUSED_REQUEST_KEPT_DAYS ago, and what two deleted accounts had with each other. Never a message of somebody who is there: in both
browsers a missing message is an alarm, whoever removed it.

Small batches, each in a transaction of its own: the server goes on meanwhile, and a run that was stopped is begun again.

exit codes: 0 done, or a dry run; 1 stopped by the database, and what was removed before stays removed.
"""


class Command(ExplainedCommand):
    help = "Removes what has outlived its time. Messages are not among it."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count, and remove nothing")
        parser.add_argument("--json", action="store_true", help="the counts as JSON")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        now = timezone.now()
        counts: dict[str, int] = {}
        try:
            for kind in outlived():
                if dry_run:
                    counts[kind.what] = kind.count(now)
                else:
                    counts[kind.what] = prune(kind, now, partial(self._show, kind.what))
            if not dry_run:
                audit.record("prune.run", by=None, source="command:prune", after=counts)
        except DatabaseError as error:
            raise CommandError(f"The database stopped it: {str(error).splitlines()[0]}") from None
        if options["json"]:
            self.stdout.write(json.dumps({"removed": not dry_run, "rows": counts}))
            return
        for what, count in counts.items():
            self.stdout.write(f"{count:,} {what}{' would be' if dry_run else ''} removed.")

    def _show(self, what: str, done: int) -> None:
        self.stderr.write(f"{what}: {done:,}")
