"""`manage.py invite`: makes, lists and revokes invitations to sign up."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from accounts.models import Invite
from accounts.services import invites
from securechat.management.explained import ExplainedCommand

EXAMPLES = """
examples:
  manage.py invite make                                       for one person, within 7 days
  manage.py invite make --uses 30 --days 14 --note "Class 4b"
  manage.py invite list --json
  manage.py invite revoke 17 --reason "It was posted somewhere."

With SIGN_UP=invite the sign-up page asks for the code; SIGN_UP=open is for everybody, and SIGN_UP=closed for nobody. The code is
shown once: only its hash is stored. Give it to people on another way than a page that strangers read.

exit codes: 0 done; 1 not possible, and why.
"""
_SOURCE = "command:invite"


class Command(ExplainedCommand):
    help = "Makes, lists and revokes invitations to sign up."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("act", choices=["make", "list", "revoke"])
        parser.add_argument("number", nargs="?", type=int, help="revoke: as list shows it")
        parser.add_argument("--uses", type=int, default=1, help="make: for so many accounts")
        parser.add_argument("--days", type=int, default=7, help="make: so long it can be used")
        parser.add_argument("--note", default="", help="make: for whom; operators alone see it")
        parser.add_argument("--reason", default="", help="revoke: goes into the audit trail")
        parser.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *args: Any, act: str, **options: Any) -> None:
        if act == "make":
            self._make(options)
        elif act == "revoke":
            self._revoke(options)
        else:
            self._list(options)

    def _make(self, options: dict[str, Any]) -> None:
        try:
            invite, code = invites.make(
                uses=options["uses"], days=options["days"], note=options["note"], by=None, source=_SOURCE
            )
        except ValueError as problem:
            raise CommandError(str(problem)) from None
        if options["json"]:
            self.stdout.write(json.dumps({**_plain(invite), "code": code}))
            return
        self.stdout.write(f"Invite {invite.pk}: {code}")
        people = "one account" if invite.uses == 1 else f"{invite.uses:,} accounts"
        self.stdout.write(
            f"For {people}, until {invite.expires_at:%Y-%m-%d %H:%M} UTC, at {settings.PUBLIC_ORIGIN}/sign-up/. It is not shown again."
        )
        if settings.SIGN_UP != "invite":
            self.stderr.write(f"SIGN_UP is {settings.SIGN_UP}: nobody is asked for it.")

    def _revoke(self, options: dict[str, Any]) -> None:
        invite = Invite.objects.filter(pk=options["number"]).first()
        if invite is None:
            raise CommandError("There is no invite of that number: see manage.py invite list.")
        if not invites.revoke(invite=invite, by=None, source=_SOURCE, why=options["reason"]):
            raise CommandError(f"Invite {invite.pk} is {invite.status} already.")
        self.stdout.write(
            json.dumps({"revoked": invite.pk}) if options["json"] else f"Invite {invite.pk} revoked."
        )

    def _list(self, options: dict[str, Any]) -> None:
        rows = Invite.objects.order_by("-pk")
        if options["json"]:
            self.stdout.write(json.dumps([_plain(row) for row in rows], indent=1))
            return
        for row in rows:
            self.stdout.write(
                f"{row.pk}: {row.status}, {row.uses_left} of {row.uses} left, until {row.expires_at:%Y-%m-%d %H:%M} UTC"
                + (f", {row.note}" if row.note else "")
            )
        if not rows:
            self.stdout.write("There are none.")


def _plain(invite: Invite) -> dict[str, Any]:
    return {
        "id": invite.pk,
        "status": invite.status,
        "uses": invite.uses,
        "uses_left": invite.uses_left,
        "expires_at": invite.expires_at.isoformat(),
        "note": invite.note,
    }
