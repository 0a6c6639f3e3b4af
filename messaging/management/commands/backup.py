"""`manage.py backup FILE`: everything that is stored, as of one moment, in one encrypted file."""

from __future__ import annotations

import hashlib
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError
from django.utils import timezone

from messaging.management import backup_options
from securechat import audit, sealed
from securechat.backup.archive import Manifest
from securechat.backup.encryption import EncryptingWriter, Secret
from securechat.backup.key_bundle import Bundle
from securechat.backup.new_file import new_file
from securechat.backup.snapshot import NotReady, write_snapshot
from securechat.management.explained import ExplainedCommand

NOT_MADE, NOT_RECORDED = 1, 3
EXAMPLES = """
examples:
  manage.py backup /backups/2026-11-26.scb --new-key /etc/securechat/backup.key   the first: makes the key, too
  manage.py backup /backups/2026-11-27.scb --key-file /etc/securechat/backup.key  from then on
  manage.py backup /backups/2026-11-27.scb --pass-phrase                          asks; or reads a line of its input
  manage.py backup today.scb --keys today.keys --key-file backup.key              and the server's own keys, apart
  manage.py backup today.scb --key-file backup.key --json                         for programs

The server goes on meanwhile: nobody waits, and the archive has everything that was acknowledged before the command began.
Sessions are not in it. The server's own keys are not in it either: without a copy of them (--keys, or KEYS_FILE) an archive
is worth little, and whoever finds both copies and the backup's key has the server. So keep three places: archives, --keys,
and the backup's key. Without that key an archive shows that it is one, and its size.

Not while manage.py migrate runs. BACKUP_KEY_FILE is taken where neither --key-file nor --pass-phrase is given.

exit codes: 0 made; 1 not made, and nothing is left of it; 2 wrong usage; 3 made, but not noted in the audit trail.
"""


class Command(ExplainedCommand):
    help = "Writes an encrypted archive of the database, while the server runs."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="the archive; it must not exist")
        secret = backup_options.add_secret(parser)
        secret.add_argument("--new-key", type=Path, metavar="PATH", help="make a key file there, and use it")
        parser.add_argument(
            "--keys", type=Path, metavar="FILE", help="write the server's own keys to it (mode 0600)"
        )
        parser.add_argument("--json", action="store_true", help="the result as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with _ended_politely():
                made = self._make(options["file"], options["new_key"], options["keys"], options)
        except (NotReady, sealed.KeysMissing, sealed.KeysInvalid) as error:
            raise CommandError(str(error), returncode=NOT_MADE) from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise CommandError(f"No backup was made: {reason}.", returncode=NOT_MADE) from None
        except DatabaseError as error:
            reason = str(error).splitlines()[0]
            raise CommandError(f"No backup was made: {reason}.", returncode=NOT_MADE) from None
        self._record(made, options["file"], with_keys=options["keys"] is not None)
        self._say(made, options)

    def _make(self, file: Path, new_key: Path | None, keys: Path | None, options: dict[str, Any]) -> Made:
        """All the files, or none of them."""
        secret = Secret.new() if new_key else backup_options.secret_for_backup(options)
        with ExitStack() as files:  # The last is renamed first: no archive without its key.
            out = Counting(files.enter_context(new_file(file)).write)
            if keys is not None:
                bundle = Bundle.of_this_server().encode(timezone.now())
                files.enter_context(new_file(keys)).write(bundle)
            if new_key is not None:
                files.enter_context(new_file(new_key)).write(secret.as_key_file())
            manifest = write_snapshot(
                EncryptingWriter(out.write, secret), backup_options.progress(self.stderr)
            )
        return Made(manifest, out.digest.hexdigest(), out.count)

    def _record(self, made: Made, file: Path, *, with_keys: bool) -> None:
        try:
            audit.record(
                "backup.make",
                by=None,
                on=f"backup:{made.manifest.made_at.isoformat(timespec='seconds')}",
                source="command:backup",
                after={"rows": made.manifest.rows, "sha256": made.sha256, "with_keys": with_keys},
            )
        except DatabaseError:
            raise CommandError(
                f"{file} is made, but could not be noted in the audit trail: the database takes no writes.",
                returncode=NOT_RECORDED,
            ) from None

    def _say(self, made: Made, options: dict[str, Any]) -> None:
        manifest = made.manifest
        for table in manifest.unknown:
            self.stderr.write(f"Not in the backup, as the program has no such table: {table}")
        if options["json"]:
            self.stdout.write(json.dumps(made.as_dict(options["file"], options["keys"])))
            return
        self.stdout.write(f"{options['file']}: {manifest.rows:,} rows, {made.size:,} bytes.")
        self.stdout.write(f"SHA-256     {made.sha256}")
        self.stdout.write(f"Audit head  {manifest.audit_head}")
        if options["keys"]:
            self.stdout.write(f"The server's own keys are in {options['keys']}. Keep them elsewhere.")
        if options["new_key"]:
            self.stdout.write(
                f"The backup's key is in {options['new_key']}. Keep a copy elsewhere: nothing brings it back."
            )


@dataclass(frozen=True)
class Made:
    manifest: Manifest
    sha256: str
    size: int

    def as_dict(self, file: Path, keys: Path | None) -> dict[str, Any]:
        return {
            "file": str(file),
            "bytes": self.size,
            "sha256": self.sha256,
            "keys": str(keys) if keys else None,
            "made_at": self.manifest.made_at.isoformat(),
            "version": self.manifest.version,
            "database": self.manifest.database,
            "audit_head": self.manifest.audit_head,
            "rows": {name: table.rows for name, table in self.manifest.tables.items()},
            "left_out": self.manifest.unknown,
        }


class Counting:
    """Hashes what passes."""

    def __init__(self, write: Any) -> None:
        self._write, self.digest, self.count = write, hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        self._write(data)
        self.digest.update(data)
        self.count += len(data)


@contextmanager
def _ended_politely() -> Iterator[None]:
    """SIGTERM takes away what is half written, as Ctrl-C does."""

    def end(*_: object) -> None:
        sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
