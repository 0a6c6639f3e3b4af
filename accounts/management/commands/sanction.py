"""`manage.py sanction`: warn, mute, suspend, ban, lift and list, from the shell."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from accounts.errors import SanctionRefused
from accounts.management.people import person_named
from accounts.models import Sanction, User
from accounts.services import sanctions
from securechat.management.explained import ExplainedCommand

EXAMPLES = """
examples:
  manage.py sanction warn Mallory --reason "Please stop advertising."
  manage.py sanction mute Mallory --reason "Insults." --hours 24
  manage.py sanction suspend Mallory --reason "Threats." --until 2027-01-31T12:00
  manage.py sanction ban Mallory --reason "Fraud." --dry-run          what would be done
  manage.py sanction list Mallory --json                              everything that was ever imposed, with numbers
  manage.py sanction lift 17 --reason "An error of ours."             the sanction with that number

The person reads the reason of what is imposed. --until is in UTC. With BANS_NEED_TWO a ban waits until an operator
approves it in the admin.

exit codes: 0 done; 1 not possible, and why.
"""
_KINDS = {
    "warn": Sanction.Kind.WARNING,
    "mute": Sanction.Kind.MUTE,
    "suspend": Sanction.Kind.SUSPENSION,
    "ban": Sanction.Kind.BAN,
}
_SOURCE = "command:sanction"


class Command(ExplainedCommand):
    help = "Warns, mutes, suspends or bans a person, takes it back, and lists what was imposed."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("act", choices=[*_KINDS, "lift", "list"])
        parser.add_argument("who", metavar="NAME", help="a name; for lift the number of the sanction")
        parser.add_argument("--reason", default="", help="the person reads it")
        parser.add_argument("--hours", type=int, metavar="N", help="mute, suspend: for so many hours")
        parser.add_argument("--until", metavar="TIME", help="mute, suspend: until then, as 2027-01-31T12:00")
        parser.add_argument("--dry-run", action="store_true", help="change nothing")
        parser.add_argument("--json", action="store_true", help="the sanctions as JSON")

    def handle(self, *args: Any, act: str, who: str, **options: Any) -> None:
        if act != "list" and not options["reason"].strip():
            raise CommandError("Say why, with --reason.")
        try:
            if act == "list":
                done = list(person_named(who).sanctions.order_by("pk"))
            elif act == "lift":
                done = [self._lift(who, **options)]
            else:
                done = [self._impose(_KINDS[act], person_named(who), **options)]
        except SanctionRefused as refusal:
            raise CommandError(str(refusal)) from None
        if options["json"]:
            self.stdout.write(json.dumps([_plain(sanction) for sanction in done], indent=1))
        elif not done:
            self.stdout.write("Nothing was ever imposed.")
        for sanction in [] if options["json"] else done:
            self.stdout.write(_line(sanction, "would be " if options["dry_run"] and act != "list" else ""))

    def _impose(self, kind: Sanction.Kind, user: User, *, dry_run: bool, **options: Any) -> Sanction:
        ends_at = _end(options["hours"], options["until"]) if kind in Sanction.TIMED else None
        if kind not in Sanction.TIMED and (options["hours"] or options["until"]):
            raise CommandError(f"A {kind.label.lower()} has no end.")
        return sanctions.impose(
            user=user,
            kind=kind,
            reason=options["reason"],
            ends_at=ends_at,
            by=None,
            source=_SOURCE,
            dry_run=dry_run,
        )

    def _lift(self, number: str, *, reason: str, dry_run: bool, **options: Any) -> Sanction:
        sanction = Sanction.objects.filter(pk=int(number)).first() if number.isdecimal() else None
        if sanction is None:
            raise CommandError("There is no sanction of that number: see `manage.py sanction list NAME`.")
        return sanctions.lift(sanction=sanction, by=None, why=reason, source=_SOURCE, dry_run=dry_run)


def _end(hours: int | None, until: str | None) -> datetime:
    if (hours is None) == (until is None):
        raise CommandError("Say until when, with either --hours or --until.")
    if hours is not None:
        return timezone.now() + timedelta(hours=hours)
    try:
        moment = datetime.fromisoformat(str(until))
    except ValueError:
        raise CommandError("--until takes a time as 2027-01-31T12:00.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _line(sanction: Sanction, would: str) -> str:
    number = f"{sanction.pk}: " if sanction.pk else ""
    end = f", until {sanction.ends_at:%Y-%m-%d %H:%M} UTC" if sanction.ends_at else ""
    return f"{number}{would}{sanction.get_kind_display().lower()} of {sanction.user.username}{end}, {sanction.status}: {sanction.reason}"


def _plain(sanction: Sanction) -> dict[str, Any]:
    return {
        "id": sanction.pk,
        "username": sanction.user.username,
        "kind": sanction.kind,
        "status": sanction.status,
        "reason": sanction.reason,
        "starts_at": sanction.starts_at.isoformat(),
        "ends_at": sanction.ends_at.isoformat() if sanction.ends_at else None,
        "imposed_by": sanction.imposed_by.username if sanction.imposed_by else None,
        "report": sanction.report,
    }
