"""`manage.py stats`: how much there is of everything."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser

from messaging.services.stats import gather
from securechat.management.explained import ExplainedCommand

EXAMPLES = """
examples:
  manage.py stats                    in words
  manage.py stats --json             for programs
  watch -n 60 manage.py stats        once a minute; it costs a few counts by index

Messages are counted by the number that each conversation has come to, not by walking them.
"""


class Command(ExplainedCommand):
    help = "Counts people, friendships, conversations, messages, reports and sanctions. Changes nothing."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        found = gather()
        if options["json"]:
            self.stdout.write(json.dumps(found, indent=1))
            return
        for group, rows in found.items():
            self.stdout.write(group.replace("_", " ").capitalize())
            for what, count in rows.items():
                shown = "unknown" if count is None else f"{count:,}"
                self.stdout.write(f"  {shown:>14}  {what.replace('_', ' ')}")
