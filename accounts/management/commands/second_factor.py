"""`manage.py second_factor`: an operator's authenticator, from the shell."""

from __future__ import annotations

import io
import json
from typing import Any

import segno
from django.core.management.base import CommandError, CommandParser

from accounts.management.people import person_named
from accounts.models import User
from accounts.services import second_factor
from securechat.management.explained import ExplainedCommand

EXAMPLES = """
examples:
  manage.py second_factor show Moder1              has this operator one, and how many backup codes are left?
  manage.py second_factor show Moder1 --json       for programs
  manage.py second_factor enrol Moder1             a new one, in place of any other: QR code and backup codes
  manage.py second_factor reset Moder1 --dry-run   what would be removed
  manage.py second_factor reset Moder1             remove it: they are led to enrol at their next visit of the admin

What enrol prints lets in whoever has the password, too: show it to nobody else, and clear the screen.

exit codes: 0 done; 1 nobody of that name, or no operator.
"""


class Command(ExplainedCommand):
    help = "Shows, makes or removes the second factor that an operator needs in the admin."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("act", choices=["show", "enrol", "reset"])
        parser.add_argument("username")
        parser.add_argument("--dry-run", action="store_true", help="reset: change nothing")
        parser.add_argument("--json", action="store_true", help="show: as JSON")

    def handle(self, *args: Any, act: str, username: str, **options: Any) -> None:
        user = person_named(username)
        if act == "show":
            self._show(user, as_json=options["json"])
        elif act == "enrol":
            self._enrol(user)
        else:
            self._reset(user, dry_run=options["dry_run"])

    def _show(self, user: User, *, as_json: bool) -> None:
        enrolled, left = second_factor.is_enrolled(user), second_factor.backup_codes_left(user)
        if as_json:
            self.stdout.write(
                json.dumps({"username": user.username, "enrolled": enrolled, "backup_codes": left})
            )
        elif enrolled:
            self.stdout.write(f"{user} has a second factor, and {left} backup codes.")
        else:
            self.stdout.write(f"{user} has no second factor.")

    def _enrol(self, user: User) -> None:
        if not user.is_staff:
            raise CommandError(f"{user} is no operator (is_staff): only the admin asks for a second factor.")
        device, codes = second_factor.enrol_from_shell(user)
        picture = io.StringIO()
        segno.make(device.config_url, micro=False).terminal(picture, compact=True)
        self.stdout.write(picture.getvalue())
        self.stdout.write(f"{device.config_url}\n\nBackup codes, each good for one log-in:")
        self.stdout.write("\n".join(f"  {code}" for code in codes))

    def _reset(self, user: User, *, dry_run: bool) -> None:
        if dry_run:
            had = second_factor.is_enrolled(user)
        else:
            had = second_factor.reset(user=user, by=None, source="command:second_factor")
        if not had:
            self.stdout.write(f"{user} has no second factor. Nothing was changed.")
        else:
            self.stdout.write(f"The second factor of {user} {'would be' if dry_run else 'was'} removed.")
