"""`manage.py expire_sessions`: ends sessions that nobody used for long, or all of one person."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from accounts.management.people import person_named
from accounts.models import BrowserSession
from accounts.services import people
from messaging.services import retention
from securechat import audit
from securechat.management.explained import ExplainedCommand

EXAMPLES = """
examples:
  manage.py expire_sessions --idle-days 7 --dry-run       how many were not used for a week
  manage.py expire_sessions --idle-days 7                 and end them
  manage.py expire_sessions --user Alice --reason "Her telephone was stolen."     all of hers, at once
  manage.py expire_sessions --everybody --reason "A new SECRET_KEY."

Sockets are closed within seconds, and people log in again with their password. A browser keeps its place on its person's key
chain: they can sign it out for good on their page of browsers. (Sessions that are over by themselves go with manage.py prune.)

exit codes: 0 done, or a dry run; 1 not done, and why.
"""
_SOURCE = "command:expire_sessions"


class Command(ExplainedCommand):
    help = "Ends sessions that were not used for some days, all of one person, or everybody's."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--idle-days", type=int, metavar="N", help="those not used for so many days")
        which.add_argument("--user", metavar="NAME", help="all of this person")
        which.add_argument("--everybody", action="store_true", help="all there are")
        parser.add_argument("--reason", default="", help="goes into the audit trail")
        parser.add_argument("--dry-run", action="store_true", help="count, and end nothing")
        parser.add_argument("--json", action="store_true", help="the count as JSON")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        if options["user"] is not None:
            count = self._of_person(options["user"], options["reason"], dry_run=dry_run)
        else:
            idle_days = 0 if options["everybody"] else options["idle_days"]
            if idle_days < 1 and not options["everybody"]:
                raise CommandError("--idle-days takes 1 or more; --everybody ends all of them.")
            count = self._idle(idle_days, options["reason"], dry_run=dry_run)
        if options["json"]:
            self.stdout.write(json.dumps({"ended": not dry_run, "sessions": count}))
        else:
            words = "session" if count == 1 else "sessions"
            self.stdout.write(f"{count:,} {words} {'would be ended' if dry_run else 'ended'}.")

    def _of_person(self, name: str, reason: str, *, dry_run: bool) -> int:
        user = person_named(name)
        count = BrowserSession.objects.filter(user=user).count()
        if not dry_run:
            people.sign_out(user=user, by=None, source=_SOURCE, why=reason)
        return count

    def _idle(self, idle_days: int, reason: str, *, dry_run: bool) -> int:
        since = timezone.now() - timedelta(days=idle_days)
        if dry_run:
            return retention.idle_sessions(since=since).count()
        count = retention.end_idle_sessions(since=since)
        audit.record(
            "session.expire",
            by=None,
            source=_SOURCE,
            why=reason,
            after={"sessions": count, "idle_days": idle_days},
        )
        return count
