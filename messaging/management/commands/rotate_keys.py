"""`manage.py rotate_keys`: a new key of the server, and every row under it."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from django.conf import settings
from django.core.management.base import CommandError
from django.db import transaction

from accounts.services.rotation import count_hashes_of_older_peppers, rotate_seals
from friends.services.rotation import rotate_blind_indexes, rotate_friend_names
from friends.services.rows import lock_index_key
from messaging.services.rotation import rotate_epoch_records, rotate_reporter_indexes, rotate_reports
from securechat import audit, sealed
from securechat.key_rotation import Progress, RowsDoNotOpen, Walk, changing_key_file
from securechat.management.explained import ExplainedCommand

_ROTATIONS: dict[sealed.RotatingPurpose, Callable[[Walk], list[Progress]]] = {
    "fernet": lambda how: [rotate_friend_names(how)],
    "blind_index": lambda how: [rotate_blind_indexes(how), rotate_reporter_indexes(how)],
    "seal": lambda how: [*rotate_seals(how), rotate_epoch_records(how), *rotate_reports(how)],
    "pepper": lambda how: [],
}


class Command(ExplainedCommand):
    help = (
        "Makes a new key for one purpose and writes every row anew under it, while the server runs.\n\n"
        "Old keys stay in the key file, so that backups and rows not yet written anew can be read. Killed half-way, run it\n"
        "again: it continues and makes no further key. Servers on several machines have to share the key file.\n\n"
        "  fernet       names of friends\n"
        "  blind_index  by which friendships, and one's own reports, are found\n"
        "  seal         key chains, vaults, doors, sessions, epoch records, reports\n"
        "  pepper       password hashes; each follows at its person's next log-in\n\n"
        "examples:\n"
        "  manage.py rotate_keys seal --dry-run     what would be written anew\n"
        "  manage.py rotate_keys seal               do it\n"
        "  manage.py rotate_keys seal --forget-old  then, when no backup needs them any more, drop the old keys\n"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("purpose", choices=get_args(sealed.RotatingPurpose))
        parser.add_argument(
            "--dry-run", action="store_true", help="Open every row and count; change nothing."
        )
        parser.add_argument(
            "--forget-old", action="store_true", help="Check that no row needs the old keys, then drop them."
        )
        parser.add_argument("--batch-rows", type=int, default=500, help="Rows in one transaction (500).")

    def handle(self, *args: Any, **options: Any) -> None:
        purpose: sealed.RotatingPurpose = options["purpose"]
        if options["batch_rows"] < 1:
            raise CommandError("A batch has at least one row.")
        how = Walk(batch_rows=options["batch_rows"], dry_run=options["dry_run"], report=self._report)
        try:
            with changing_key_file(Path(settings.KEYS_FILE)):
                sealed.key_ring()
                if options["forget_old"]:
                    self._forget_old(purpose, how)
                else:
                    self._rotate(purpose, how)
        except sealed.KeysMissing as error:
            raise CommandError(f"{error} Rotating begins with the keys that the rows are under.") from None
        except (sealed.KeysInvalid, RowsDoNotOpen) as error:
            raise CommandError(str(error)) from None

    def _rotate(self, purpose: sealed.RotatingPurpose, how: Walk) -> None:
        older = self._count_older(purpose)
        if how.dry_run:
            self._say_what_would_be(purpose, older)
            return
        if older and purpose != "pepper":
            self.stdout.write(f"Continuing: {older} rows are not under the newest {purpose} key yet.")
        else:
            self._add_key(purpose)
        rewritten = sum(progress.rewritten for progress in _ROTATIONS[purpose](how))
        self._check_done(purpose)
        _record("key.rotate", purpose, rows=rewritten, newest=sealed.key_ring().newest(purpose).id)
        self.stdout.write(self.style.SUCCESS(f"Done. {self._how_old_keys_are_kept(purpose)}"))

    def _say_what_would_be(self, purpose: sealed.RotatingPurpose, older: int) -> None:
        newest = sealed.key_ring().newest(purpose).id
        if older:
            self.stdout.write(f"{older} rows are not under the newest {purpose} key ({newest}) yet.")
        else:
            total = sum(progress.total for progress in _ROTATIONS[purpose](Walk(dry_run=True)))
            self.stdout.write(
                f"Every row is under {purpose} key {newest}. Key {newest + 1} would be made, {total} rows written anew."
            )

    def _count_older(self, purpose: sealed.RotatingPurpose) -> int:
        """Opens every row. Raises ``RowsDoNotOpen``."""
        if purpose == "pepper":
            return count_hashes_of_older_peppers()
        return sum(progress.rewritten for progress in _ROTATIONS[purpose](Walk(dry_run=True)))

    def _add_key(self, purpose: sealed.RotatingPurpose) -> None:
        self._refuse_for_environment(
            f"Add a {purpose} key with the next id to it, restart the server, and run this again."
        )
        with transaction.atomic():
            lock_index_key(alone=True)
            ring = sealed.key_ring()
            key = sealed.new_key(ring.newest(purpose).id + 1)
            _record("key.make", purpose, newest=key.id)
            self._write(ring, purpose, (key, *ring.keys[purpose]))
        self.stdout.write(f"Made {purpose} key {key.id}.")

    def _check_done(self, purpose: sealed.RotatingPurpose) -> None:
        if purpose != "pepper" and (older := self._count_older(purpose)):
            raise CommandError(f"{older} rows are still under an older key. Run this again.")

    def _how_old_keys_are_kept(self, purpose: sealed.RotatingPurpose) -> str:
        if purpose == "pepper":
            return f"{count_hashes_of_older_peppers()} password hashes follow at their people's next log-in."
        return "The old keys are kept; --forget-old drops them."

    def _forget_old(self, purpose: sealed.RotatingPurpose, how: Walk) -> None:
        self._refuse_for_environment("Take the old keys out of it and restart the server.")
        if purpose == "pepper":
            if older := count_hashes_of_older_peppers():
                raise CommandError(
                    f"{older} password hashes still need an older pepper: their people have not logged in since."
                )
        elif not how.dry_run:
            _ROTATIONS[purpose](replace(how, dry_run=False))
            self._check_done(purpose)
        ring = sealed.key_ring()
        old = len(ring.keys[purpose]) - 1
        if how.dry_run:
            self.stdout.write(
                f"{self._count_older(purpose)} rows would be written anew, {old} old keys would be dropped."
            )
            return
        with transaction.atomic():
            lock_index_key(alone=True)
            _record("key.forget", purpose, forgotten=old, newest=ring.newest(purpose).id)
            self._write(ring, purpose, ring.keys[purpose][:1])
        self.stdout.write(self.style.SUCCESS(f"Dropped {old} old {purpose} keys."))

    def _refuse_for_environment(self, instead: str) -> None:
        if settings.SECURECHAT_KEYS:
            raise CommandError(
                f"The keys are in SECURECHAT_KEYS, which this command cannot change. {instead}"
            )

    def _write(
        self, ring: sealed.KeyRing, purpose: sealed.RotatingPurpose, keys: tuple[sealed.Key, ...]
    ) -> None:
        sealed.write_key_file(sealed.KeyRing({**ring.keys, purpose: keys}), Path(settings.KEYS_FILE))

    def _report(self, progress: Progress) -> None:
        self.stdout.write(f"{progress.table}: {progress.seen} of {progress.total} rows")


def _record(action: str, purpose: sealed.RotatingPurpose, **after: int) -> None:
    audit.record(action, by=None, on=f"key:{purpose}", source="command:rotate_keys", after=after)
