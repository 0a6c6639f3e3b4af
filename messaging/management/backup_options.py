"""What `backup` and `restore` share: from where the backup's key comes, and how far they are."""

from __future__ import annotations

import sys
from argparse import _MutuallyExclusiveGroup
from collections.abc import Callable
from getpass import getpass
from pathlib import Path
from typing import Any, Protocol

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from securechat.backup.archive import Progress
from securechat.backup.encryption import KeyFileInvalid, Kind, Secret

PASS_PHRASE_MIN_CHARACTERS = 16
_WRONG_USAGE = 2


class _Out(Protocol):
    def write(self, msg: str) -> object: ...


def add_secret(parser: CommandParser) -> _MutuallyExclusiveGroup:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--key-file", type=Path, metavar="PATH", help="the backup's key; see BACKUP_KEY_FILE")
    group.add_argument("--pass-phrase", action="store_true", help="ask for a pass phrase instead")
    return group


def secret_for_backup(options: dict[str, Any]) -> Secret:
    if options["pass_phrase"]:
        text = _pass_phrase(twice=True)
        if len(text) < PASS_PHRASE_MIN_CHARACTERS:
            raise CommandError(
                f"A pass phrase has at least {PASS_PHRASE_MIN_CHARACTERS} characters: whoever finds the archive can "
                "try as long as they like.",
                returncode=_WRONG_USAGE,
            )
        return Secret.of_pass_phrase(text)
    return _of_key_file(options)


def secret_for_restore(options: dict[str, Any], kind: Kind) -> Secret:
    """``kind`` is what the archive says that it opens with."""
    if options["pass_phrase"] or (kind == "pass phrase" and not options["key_file"]):
        return Secret.of_pass_phrase(_pass_phrase(twice=False))
    return _of_key_file(options)


def progress(out: _Out) -> Callable[[Progress], None]:
    """A line for each table with rows, and more for long ones."""

    def report(seen: Progress) -> None:
        if seen.total:
            out.write(f"{seen.table}: {seen.done:,} of {seen.total:,} rows")

    return report


def _of_key_file(options: dict[str, Any]) -> Secret:
    path = options["key_file"] or (Path(settings.BACKUP_KEY_FILE) if settings.BACKUP_KEY_FILE else None)
    if path is None:
        raise CommandError(
            "With which key? Give --key-file, --pass-phrase, or the setting BACKUP_KEY_FILE; "
            "backup --new-key makes a key.",
            returncode=_WRONG_USAGE,
        )
    try:
        return Secret.of_key_file(path)
    except KeyFileInvalid as error:
        raise CommandError(str(error), returncode=_WRONG_USAGE) from None
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}.", returncode=_WRONG_USAGE) from None


def _pass_phrase(*, twice: bool) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    text = getpass("Pass phrase of the backup: ")
    if twice and getpass("The same again: ") != text:
        raise CommandError("The two were not the same. Nothing was done.", returncode=_WRONG_USAGE)
    return text
