"""`manage.py init_keys`: the server's own keys, once."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError

from securechat import audit, sealed, sealed_columns
from securechat.key_rotation import changing_key_file
from securechat.management.explained import ExplainedCommand


class Command(ExplainedCommand):
    help = (
        "Makes the server's key file (KEYS_FILE, mode 0600) when there is none.\n\n"
        "Without these keys nobody can log in and no friendship can be read, so keep a copy of the file apart from\n"
        "the copies of the database. While the database has rows that need the old keys, new ones are refused.\n\n"
        "examples:\n"
        "  manage.py init_keys                              the first start of a new server\n"
        "  KEYS_FILE=/etc/securechat/keys.json manage.py init_keys\n"
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """None of its own."""

    def handle(self, *args: Any, **options: Any) -> None:
        path = Path(settings.KEYS_FILE)
        if settings.SECURECHAT_KEYS:
            self._check_present("SECURECHAT_KEYS")
            return
        with changing_key_file(path):
            if path.exists():
                self._check_present(str(path))
                return
            self._refuse_while_old_keys_are_needed(path)
            sealed.write_key_file(sealed.new_key_ring(), path)
            audit.record_if_there_is_a_trail("key.init", command="init_keys")
        self.stdout.write(
            self.style.SUCCESS(f"The server's keys are in {path}. Keep a copy in a safe place.")
        )

    def _check_present(self, where: str) -> None:
        try:
            sealed.key_ring()
        except sealed.KeysInvalid as error:
            raise CommandError(f"{where}: {error} Restore it from your backup.") from None
        self.stdout.write(f"The server has its keys already, in {where}. Nothing was changed.")

    def _refuse_while_old_keys_are_needed(self, path: Path) -> None:
        try:
            tables = [column.model for column in sealed_columns.in_use()]
        except DatabaseError:
            raise CommandError(
                "The database does not answer, so nobody knows whether it needs older keys. No keys were made."
            ) from None
        if tables:
            raise CommandError(
                f"There is no key file at {path}, but the database has rows that only the old keys open "
                f"({', '.join(tables)}). Restore the key file from your backup. No keys were made."
            )
