"""`manage.py verify_report ID`: is what was disclosed in a report what the reported person's browsers signed?"""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from messaging.models import Report
from messaging.services.reports import CheckedMessage, CheckedReport, check_report
from securechat.management.explained import ExplainedCommand
from securechat.sealed import SealBroken

NOT_VERIFIED, NOT_CHECKED = 1, 2
EXAMPLES = """
examples:
  manage.py verify_report 17          report 17
  manage.py verify_report 17 --json   for programs

Everything is computed again from what is sealed in the report: the key chain from its first entry, the signature of each
message, and its commitment to what was disclosed. The messages themselves need not be stored any more, and nothing of what
they say is printed.

exit codes: 0 every message is verified; 1 at least one is not, and why; 2 there is nothing to verify, or the evidence
does not open.
"""


class Command(ExplainedCommand):
    help = "Checks the evidence of a report again, from the report alone."
    requires_system_checks = []
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", metavar="ID", type=int, help="the report's number, as in the admin")
        parser.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        checked = _checked(options["id"])
        if options["json"]:
            self.stdout.write(json.dumps(_for_programs(checked), indent=1))
        if not checked.messages:
            raise CommandError(
                "No message was disclosed: there is nothing to verify.", returncode=NOT_CHECKED
            )
        if not options["json"]:
            for message in checked.messages:
                self.stdout.write(_line(checked, message))
        if not checked.holds:
            raise CommandError("Not every message can be verified.", returncode=NOT_VERIFIED)


def _checked(report_id: int) -> CheckedReport:
    try:
        return check_report(Report.objects.get(pk=report_id))
    except Report.DoesNotExist:
        raise CommandError("There is no such report.", returncode=NOT_CHECKED) from None
    except SealBroken:
        raise CommandError(
            "The evidence does not open with this server's keys.", returncode=NOT_CHECKED
        ) from None


def _line(checked: CheckedReport, message: CheckedMessage) -> str:
    if message.problem is not None:
        return f"{message.row.n}: Cannot be verified. {message.problem.sentence}"
    stored_at = message.row.stored_at
    assert stored_at is not None
    return f"{message.row.n}: Verified: sent by {checked.evidence.name} at {stored_at:%Y-%m-%d %H:%M:%S} UTC"


def _for_programs(checked: CheckedReport) -> dict[str, Any]:
    return {
        "report": checked.report.pk,
        "holds": checked.holds,
        "reported": checked.evidence.name,
        "messages": [
            {
                "n": message.row.n,
                "verified": message.problem is None,
                "problem": message.problem,
                "stored_at": message.row.stored_at and message.row.stored_at.isoformat(),
            }
            for message in checked.messages
        ],
    }
