"""`manage.py delete_user NAME`: deletes an account, and says first what goes and what is left."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.errors import DeletionRefused
from accounts.management.people import person_named
from accounts.models import User
from accounts.services.deletion import Deletion, delete_account
from securechat.management.explained import ExplainedCommand

EXAMPLES = """
examples:
  manage.py delete_user Mallory --dry-run                                  what would go, and what would be left
  manage.py delete_user Mallory --reason "Asked for it by letter, 2026-11-26."    asks for the name once more
  manage.py delete_user Mallory --reason "…" --yes --json                  for programs

Sessions end and open sockets are closed within seconds. A friend keeps the conversation: until the last friend's account is
deleted, name and public keys stay, and nobody can take the name. Reports that they made, or that are about them, and the audit
trail stay. Backups made before still have the account.

exit codes: 0 deleted, or a dry run; 1 not deleted, and why.
"""


class Command(ExplainedCommand):
    help = "Deletes an account. It cannot be undone."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--reason", default="", help="goes into the audit trail")
        parser.add_argument("--dry-run", action="store_true", help="change nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument(
            "--json", action="store_true", help="the result as JSON; asks nothing, so give --yes"
        )

    def handle(self, *args: Any, name: str, reason: str, dry_run: bool, yes: bool, **options: Any) -> None:
        if not dry_run and not reason.strip():
            raise CommandError("Say why, with --reason.")
        if options["json"] and not (yes or dry_run):
            raise CommandError("With --json, give --yes too.")
        user = person_named(name)
        if not (dry_run or yes):
            self._say(_delete(user, reason, dry_run=True), would=True)
            if _answer(user.username) != user.username:
                raise CommandError("Nothing was changed: that is not the name.")
        deletion = _delete(user, reason, dry_run=dry_run)
        if options["json"]:
            self.stdout.write(
                json.dumps(
                    {
                        "name": user.username,
                        "deleted": not dry_run,
                        "removed": dict(+deletion.removed),
                        "kept": dict(+deletion.kept),
                        "name_stays": deletion.name_stays,
                    }
                )
            )
        elif dry_run:
            self._say(deletion, would=True)
            self.stdout.write("Nothing was changed.")
        else:
            self._say(deletion, would=False)

    def _say(self, deletion: Deletion, *, would: bool) -> None:
        self.stdout.write(f"{deletion.user.username}: {'would be' if would else 'is'} deleted, with")
        for what, count in sorted((+deletion.removed).items()):
            self.stdout.write(f"  {count:,} {what}")
        for what, count in sorted((+deletion.kept).items()):
            self.stdout.write(f"  left: {count:,} {what}")
        self.stdout.write(
            "  left: the name and the public keys"
            if deletion.name_stays
            else "  and the name, which is free then"
        )


def _delete(user: User, reason: str, *, dry_run: bool) -> Deletion:
    try:
        return delete_account(user=user, by=None, source="command:delete_user", why=reason, dry_run=dry_run)
    except DeletionRefused as refusal:
        raise CommandError(str(refusal)) from None


def _answer(name: str) -> str:
    try:
        return input(f"Type {name} to delete the account: ")
    except EOFError:
        return ""
