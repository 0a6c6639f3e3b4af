"""What `manage.py check --database default` says about the server's keys, before anybody loses anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from securechat import sealed, sealed_columns
from securechat.sealed_columns import SealedColumn

_RESTORE = (
    "Restore the key file that belongs to this database from your backup (KEYS_FILE), or set SECURECHAT_KEYS. "
    "New keys cannot read old rows."
)


@register(Tags.database, Tags.security)
def check_keys_open_what_is_stored(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Looks at the oldest and the newest row of each sealed table."""
    return [
        error
        for database in databases or ()
        for column in sealed_columns.in_use(database)
        if (error := _error_of(column, database)) is not None
    ]


@register(Tags.security, deploy=True)
def check_second_factor_is_demanded(**_: Any) -> list[CheckMessage]:
    if settings.ADMIN_SECOND_FACTOR:
        return []
    return [
        Warning(
            "The admin lets operators in with their password alone.",
            hint="Take ADMIN_SECOND_FACTOR out of the environment: it is for trying out only.",
            id="securechat.W001",
        )
    ]


def _error_of(column: SealedColumn, database: str) -> CheckMessage | None:
    rows = column.rows(database)
    try:
        for row in (rows.first(), rows.last()):
            if row is not None:
                column.open(row)
    except sealed.KeysMissing:
        return Error(
            f"There are rows of {column.model}, but no keys to open them.",
            hint=_RESTORE,
            id="securechat.E001",
        )
    except sealed.KeysInvalid:
        return Error("The server's keys are damaged.", hint=_RESTORE, id="securechat.E002")
    except sealed.SealBroken:
        return Error(
            f"The server's keys do not open the rows of {column.model}.", hint=_RESTORE, id="securechat.E003"
        )
    return None
