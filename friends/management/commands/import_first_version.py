"""`manage.py import_first_version`: the people and friendships of the first version's database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.errors import UsernameTaken
from friends import first_version
from friends.first_version import STATUSES, FirstVersionUnreadable, Plan, Status
from friends.services.first_version import carry_over, people_named
from securechat.management.explained import ExplainedCommand

EXAMPLES = """
examples:
  manage.py import_first_version --database old.db --key old.key --dry-run   what would be carried over, and what not
  manage.py import_first_version --database old.db --key old.key             do it
  manage.py import_first_version --database old.db --key old.key --json      for programs

People log in with their old password. Their first log-in, in a browser, replaces its record by a key of today's kind and
makes their keys. Requests, friendships and rejections are carried over as they were, with the time of the import, as the
first version kept none. It takes a quarter of a second for each person, then one transaction. Run again, it changes
nothing more. The old database is only read. What is not carried over is listed with the reason.

exit codes: 0 done, also where rows were skipped; 1 nothing was changed, and why.
"""
NO_MESSAGES = (
    "Messages cannot be carried over. Each is signed now by its author's browser and encrypted in it for the two people; "
    "to bring the old ones in, the server would have to write in people's names, which is what every browser here refuses. "
    "Keep the old database if somebody still needs them."
)
_REPORT_EVERY = 20


class Command(ExplainedCommand):
    help = "Carries over the people and friendships of the first version's SQLite database."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--database", type=Path, required=True, metavar="FILE", help="its SQLite database"
        )
        parser.add_argument(
            "--key", type=Path, required=True, metavar="FILE", help="its Fernet key, as it kept it"
        )
        parser.add_argument("--dry-run", action="store_true", help="change nothing")
        parser.add_argument("--json", action="store_true", help="the result as JSON")

    def handle(self, *args: Any, database: Path, key: Path, dry_run: bool, **options: Any) -> None:
        try:
            rows = first_version.read_rows(database)
            fernet = first_version.read_key(key)
            plan = first_version.judge(rows, fernet, people_named(first_version.folded_names(rows)))
        except FirstVersionUnreadable as error:
            raise CommandError(str(error)) from None
        if not dry_run:
            self._carry_over(plan)
        self.stdout.write(_as_json(plan, dry_run) if options["json"] else _as_text(plan, dry_run))

    def _carry_over(self, plan: Plan) -> None:
        total = len(plan.people)

        def progress(done: int) -> None:
            if done % _REPORT_EVERY == 0 or done == total:
                self.stderr.write(f"Passwords stretched: {done} of {total}")

        try:
            carry_over(plan, source="command:import_first_version", progress=progress)
        except UsernameTaken:
            raise CommandError(
                "Somebody signed up meanwhile under one of the names. Nothing was changed: run it again."
            ) from None


def _as_text(plan: Plan, dry_run: bool) -> str:
    would = "would be " if dry_run else ""
    lines = [f"{skipped.table} {skipped.row}: {skipped.why}" for skipped in plan.skipped]
    lines += [
        f"{_counted(len(plan.people), 'person', 'people')} {would}carried over, {plan.people_here} here already, "
        f"{plan.count_skipped('user')} skipped.",
        f"{_counted(len(plan.friendships), 'friendship', 'friendships')} {would}carried over "
        f"({plan.count(Status.APPROVE)} of friends, {plan.count(Status.DEFAULT)} requests, "
        f"{plan.count(Status.REJECT)} rejections), {plan.friendships_here} here already, "
        f"{plan.count_skipped('friend')} rows skipped.",
        NO_MESSAGES,
    ]
    return "\n".join(lines)


def _as_json(plan: Plan, dry_run: bool) -> str:
    return json.dumps(
        {
            "dry_run": dry_run,
            "people": {
                "carried_over": len(plan.people),
                "here_already": plan.people_here,
                "skipped": plan.count_skipped("user"),
            },
            "friendships": {
                "carried_over": {status.value: plan.count(status) for status in STATUSES},
                "here_already": plan.friendships_here,
                "skipped": plan.count_skipped("friend"),
            },
            "skipped": [
                {"table": skipped.table, "row": skipped.row, "why": skipped.why} for skipped in plan.skipped
            ],
            "messages": NO_MESSAGES,
        },
        indent=1,
    )


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
