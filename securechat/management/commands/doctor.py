"""`manage.py doctor`: is everything there that a deployment needs, and how is it mended?"""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from securechat.doctor.checks import examine
from securechat.doctor.finding import State, as_json, as_text
from securechat.management.explained import ExplainedCommand

EXAMPLES = """
examples:
  manage.py doctor            every check, with how to mend what is wrong
  manage.py doctor --json     for programs: {"healthy": …, "findings": [{"check", "state", "said", "mend"}]}

Run it as the server's user and with its environment, before the first start, after an upgrade, and when something is odd. It
changes nothing, and works while the server runs.

exit codes: 0 nothing fails (there may be warnings); 1 something fails.
"""


class Command(ExplainedCommand):
    help = "Looks at everything a deployment needs, and says how to mend what is wrong. Changes nothing."
    requires_system_checks = []
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = []
        for finding in examine():
            findings.append(finding)
            if not options["json"]:
                self.stdout.write(as_text([finding]))
        if options["json"]:
            self.stdout.write(as_json(findings))
        failures = sum(one.state == State.FAILURE for one in findings)
        if failures:
            if not options["json"]:
                self.stderr.write(f"{failures} {'thing fails' if failures == 1 else 'things fail'}.")
            sys.exit(1)
