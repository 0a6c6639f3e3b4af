"""`manage.py restore FILE`: is a backup good, and back into a database with it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import redis
from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError

from messaging import presence
from messaging.management import backup_options
from securechat import audit, sealed
from securechat.backup.archive import ArchiveReader
from securechat.backup.encryption import DecryptingReader, DoesNotOpen, Secret, UnknownFormat, kind_of
from securechat.backup.key_bundle import Bundle, BundleInvalid, OtherKeys
from securechat.backup.loading import Loss, NotTheSame, PeopleInIt, load, what_would_be_lost
from securechat.backup.snapshot import NotReady
from securechat.backup.verifying import KeysDoNotFit, OtherVersion, Verified, verify
from securechat.management.explained import ExplainedCommand

NOT_RESTORED, NOT_GOOD, KEYS_DO_NOT_FIT, OTHER_VERSION = 1, 3, 4, 5
EXAMPLES = """
examples:
  manage.py restore today.scb --verify --key-file backup.key                     is it whole, and do this server's keys fit?
  manage.py restore today.scb --verify --key-file backup.key --keys today.keys   and do these keys?
  manage.py restore today.scb --dry-run --key-file backup.key                    and what would be lost here?
  manage.py restore today.scb --key-file backup.key --keys today.keys            into an empty database, after migrate
  manage.py restore today.scb --key-file backup.key --replace                    in place of what is there; asks first

Stop every process of the server first. The archive is read twice: once to verify it, which changes nothing, and once to store
its rows in one transaction, so that all of it is stored or nothing is changed. The counts of all tables and the audit trail
are compared before that transaction ends. An archive of SQLite goes into PostgreSQL as well, and the other way round.

--keys puts the server's key file, certificates and environment file where they are missing here; what is there and differs
is left alone and named. Other keys at KEYS_FILE stop it.

Afterwards everybody is signed out and nobody is online. After an older backup, people whose browsers have seen newer
messages or keys are shown an alarm ("Messages disappeared", "Older vault", "Older keys"): tell them before. Passwords,
blocks, sanctions and signed-out browsers are those of the backup, too.

exit codes: 0 done, or verified; 1 nothing was changed, and why; 2 wrong usage; 3 the archive is damaged, is none, or the key is
not its key; 4 the server's own keys are missing or do not fit the archive; 5 the archive is of another version.
"""


class Command(ExplainedCommand):
    help = "Verifies a backup, or puts it into the database."
    requires_system_checks = []
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="the archive")
        backup_options.add_secret(parser)
        parser.add_argument(
            "--keys", type=Path, metavar="FILE", help="the server's own keys, of backup --keys"
        )
        parser.add_argument("--verify", action="store_true", help="read and check everything; change nothing")
        parser.add_argument(
            "--dry-run", action="store_true", help="and say what would be lost; change nothing"
        )
        parser.add_argument(
            "--replace", action="store_true", help="also where there are people in the database"
        )
        parser.add_argument(
            "--no-input", action="store_false", dest="interactive", help="with --replace: do not ask"
        )
        parser.add_argument("--json", action="store_true", help="the result as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        with ExitStack() as stack:
            file, secret, bundle = self._open(stack, options)
            verified = self._verified(file, secret, bundle)
            restored = False
            if not options["verify"]:
                restored = self._restore(file, secret, bundle, verified, options)
            self._say(verified, options, restored=restored)

    def _open(self, stack: ExitStack, options: dict[str, Any]) -> tuple[BinaryIO, Secret, Bundle | None]:
        try:
            file = stack.enter_context(options["file"].open("rb"))
            bundle = Bundle.read(options["keys"]) if options["keys"] else None
            return file, backup_options.secret_for_restore(options, kind_of(file)), bundle
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}.", returncode=NOT_RESTORED) from None
        except BundleInvalid as error:
            raise CommandError(str(error), returncode=KEYS_DO_NOT_FIT) from None
        except DoesNotOpen as error:
            raise CommandError(str(error), returncode=NOT_GOOD) from None
        except UnknownFormat as error:
            raise CommandError(f"{error} Install a newer version.", returncode=OTHER_VERSION) from None

    def _verified(self, file: BinaryIO, secret: Secret, bundle: Bundle | None) -> Verified:
        report = backup_options.progress(self.stderr)
        try:
            with ExitStack() as stack:
                if bundle is not None:
                    stack.enter_context(sealed.trying(bundle.ring))
                return verify(_archive(file, secret), report)
        except (DoesNotOpen, audit.BrokenChain) as error:
            trail = "The audit trail in it is broken. " if isinstance(error, audit.BrokenChain) else ""
            raise CommandError(f"The backup is not good. {trail}{error}", returncode=NOT_GOOD) from None
        except KeysDoNotFit as error:
            raise CommandError(str(error), returncode=KEYS_DO_NOT_FIT) from None
        except (OtherVersion, UnknownFormat) as error:
            raise CommandError(str(error), returncode=OTHER_VERSION) from None

    def _restore(
        self,
        file: BinaryIO,
        secret: Secret,
        bundle: Bundle | None,
        verified: Verified,
        options: dict[str, Any],
    ) -> bool:
        """Whether it was done."""
        try:
            if bundle is not None:
                bundle.require_no_other_keys()
            loss = what_would_be_lost()
            self._show_loss(loss, verified)
            if options["dry_run"]:
                return False
            self._require_consent(loss, options)
            load(
                lambda: _archive(file, secret),
                backup_options.progress(self.stderr),
                verified=verified.manifest,
                replace=options["replace"],
                before_commit=lambda: self._put_keys_in_place(bundle),
            )
        except (NotReady, NotTheSame, OSError) as error:
            raise CommandError(f"Nothing was changed. {error}", returncode=NOT_RESTORED) from None
        except PeopleInIt:
            raise CommandError(_IN_USE, returncode=NOT_RESTORED) from None
        except OtherKeys as error:
            raise CommandError(f"Nothing was changed. {error}", returncode=KEYS_DO_NOT_FIT) from None
        except DoesNotOpen as error:
            raise CommandError(f"Nothing was changed. {error}", returncode=NOT_GOOD) from None
        except DatabaseError as error:
            reason = str(error).splitlines()[0]
            raise CommandError(f"Nothing was changed. {reason}", returncode=NOT_RESTORED) from None
        self._forget_presence()
        return True

    def _show_loss(self, loss: Loss, verified: Verified) -> None:
        if not loss.people:
            return
        self.stderr.write("In the database now, and in the archive:")
        for name, count in loss.rows.items():
            table = verified.manifest.tables.get(name)
            self.stderr.write(f"  {name}: {count:,} rows; {table.rows if table else 0:,}")
        self.stderr.write(f"  audit head: {loss.audit_head}; {verified.manifest.audit_head}")

    def _require_consent(self, loss: Loss, options: dict[str, Any]) -> None:
        if not loss.people:
            return
        if not options["replace"]:
            raise PeopleInIt
        if options["interactive"] and _answer() != "replace":
            raise CommandError("Nothing was changed.", returncode=NOT_RESTORED)

    def _put_keys_in_place(self, bundle: Bundle | None) -> None:
        if bundle is None:
            return
        written, differing = bundle.put_in_place()
        for path in written:
            self.stderr.write(f"Put in place: {path}")
        for path in differing:
            self.stderr.write(f"Left as it is, though the one in the file of keys differs: {path}")

    def _forget_presence(self) -> None:
        try:
            presence.forget_all()
        except redis.RedisError:
            self.stderr.write("Redis does not answer. What it says of who is online ends by itself.")

    def _say(self, verified: Verified, options: dict[str, Any], *, restored: bool) -> None:
        manifest = verified.manifest
        if options["json"]:
            self.stdout.write(
                json.dumps(
                    {
                        "good": True,
                        "restored": restored,
                        "made_at": manifest.made_at.isoformat(),
                        "version": manifest.version,
                        "database": manifest.database,
                        "audit_head": manifest.audit_head,
                        "rows": {name: table.rows for name, table in manifest.tables.items()},
                        "sha256": dict(verified.hashes),
                        "opened_by_the_keys": dict(verified.opened),
                    }
                )
            )
            return
        self.stdout.write(
            f"The backup of {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC is good: {manifest.rows:,} rows in "
            f"{len(manifest.tables)} tables, the audit trail is whole, the server's keys open "
            f"{sum(verified.opened.values()):,} rows that were tried."
        )
        self.stdout.write(f"Audit head  {manifest.audit_head}")
        if restored:
            self.stdout.write("Restored, and the counts compared. Everybody is signed out. Start the server.")
        elif not options["verify"]:
            self.stdout.write("Nothing was changed.")


_IN_USE = (
    "Nothing was changed. There are people in this database. Restore into an empty one, or give --replace, "
    "which first shows what would be lost and asks."
)


def _answer() -> str:
    try:
        return input("Type 'replace' to remove what is in the database now: ")
    except EOFError:
        return ""


def _archive(file: BinaryIO, secret: Secret) -> ArchiveReader:
    file.seek(0)
    return ArchiveReader(DecryptingReader(file, secret))
