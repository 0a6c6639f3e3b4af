"""`manage.py export_user NAME FILE`: what the server holds about a person, for them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.management.people import person_named
from accounts.models import User
from accounts.services.export import export
from securechat import audit
from securechat.backup.new_file import new_file
from securechat.management.explained import ExplainedCommand

EXAMPLES = """
examples:
  manage.py export_user Alice alice.json        a new file, readable by you alone
  manage.py export_user Alice - | gzip > a.gz   to the standard output

People can do the same themselves, under Settings, Your data. Messages and keys are in it as they are stored: only the person's
password or recovery code opens them. It has their network addresses and their friends' names: give it to nobody else.

exit codes: 0 done; 1 not done, and nothing is left of it.
"""


class Command(ExplainedCommand):
    help = "Writes everything that the server holds about a person, as JSON."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("file", metavar="FILE", help="it must not exist; - for the standard output")

    def handle(self, *args: Any, name: str, file: str, **options: Any) -> None:
        user = person_named(name)
        if file == "-":
            for piece in export(user):
                self.stdout.write(piece, ending="")
        else:
            self._write(user, Path(file))
        audit.record("user.export", by=None, on=f"user:{user.pk}", source="command:export_user")

    def _write(self, user: User, path: Path) -> None:
        try:
            with new_file(path) as out:
                for piece in export(user):
                    out.write(piece.encode())
            size = os.path.getsize(path)
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror or error}.") from None
        self.stderr.write(f"{path}: {size:,} bytes.")
