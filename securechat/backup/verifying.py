"""Is an archive whole, is the audit trail in it whole, and do these keys open what is in it? Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import models

from securechat import audit, sealed, sealed_columns
from securechat.audit import AuditEvent
from securechat.backup.archive import (
    ArchiveReader,
    Manifest,
    Progress,
    Row,
    column_names,
    known_migrations,
    stored_fields,
    stored_models,
)
from securechat.backup.encryption import DoesNotOpen

TRIED_OF_EACH_TABLE = 100
_AND_EVERY = 1_000
"""Rows of a table with sealed columns that are opened: the first so many, and then one in so many."""


class OtherVersion(Exception):
    """The archive was made by a program with other migrations; the message says which one to install."""


class KeysDoNotFit(Exception):
    """The server's keys are missing, or are not those under which the archive's rows are sealed."""


@dataclass(frozen=True)
class Verified:
    """``opened`` says how many rows of which table the keys were tried on."""

    manifest: Manifest
    hashes: Mapping[str, str]
    opened: Mapping[str, int]


def verify(archive: ArchiveReader, report: Callable[[Progress], None]) -> Verified:
    """Reads everything. Raises ``DoesNotOpen``; then ``OtherVersion``; then ``KeysDoNotFit``, and ``audit.BrokenChain``.

    The keys are those of ``sealed.key_ring``.
    """
    manifest = archive.manifest
    reason = _why_not_here(manifest)
    if reason is not None:
        for _ in archive.rows(report):
            pass
        raise OtherVersion(reason)
    trail, keys = _Trail(), _Keys()
    for name, row in archive.rows(report):
        trail.see(name, row)
        keys.see(name, row)
    if trail.shown_head != manifest.audit_head:
        raise DoesNotOpen("The audit trail does not end as the manifest says.")
    if trail.problem:
        raise trail.problem
    if keys.problem:
        raise KeysDoNotFit(keys.problem)
    return Verified(manifest, archive.hashes, keys.opened)


def _why_not_here(manifest: Manifest) -> str | None:
    stored, known = (
        {(app, name) for app, name in rows} for rows in (manifest.migrations, known_migrations())
    )
    if newer := sorted(stored - known):
        return (
            f"The archive is of a newer program ({manifest.version}; this one lacks {_named(newer)}). "
            "Install that version, then restore."
        )
    if missing := sorted(known - stored):
        return (
            f"The archive is of an older program ({manifest.version}; it lacks {_named(missing)}). Install that version, "
            "restore, then upgrade: manage.py migrate brings the rows forward."
        )
    same = {name: column_names(model) for name, model in stored_models().items()}
    if same != {name: table.columns for name, table in manifest.tables.items()}:
        return (
            "The archive has other tables than this program. Install the version that made it, then restore."
        )
    return None


def _named(migrations: list[tuple[str, str]]) -> str:
    (app, name), others = migrations[0], len(migrations) - 1
    return f"{app}.{name}" + (f" and {others} more migrations" if others else "")


def model_of(name: str, row: Row) -> models.Model:
    """As the ORM would give it, and not connected to any database."""
    model = stored_models()[name]
    return model(**{one.attname: value for one, value in zip(stored_fields(model), row, strict=True)})


@dataclass
class _Trail:
    """The chain of events, checked as they come by."""

    head: AuditEvent | None = None
    problem: audit.BrokenChain | None = None
    _waiting: list[AuditEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._checked = audit.checked(self._given())

    @property
    def shown_head(self) -> str:
        return f"{self.head.n}:{self.head.hash}" if self.head else f"0:{audit.GENESIS}"

    def see(self, name: str, row: Row) -> None:
        if name != AuditEvent._meta.db_table:
            return
        event = model_of(name, row)
        assert isinstance(event, AuditEvent)
        self.head = event
        if self.problem is None:
            self._waiting.append(event)
            try:
                next(self._checked)
            except audit.BrokenChain as broken:
                self.problem = broken

    def _given(self) -> Iterator[AuditEvent]:
        while True:
            yield self._waiting.pop()


@dataclass
class _Keys:
    """Opens a sample of what is sealed; keeps the first problem."""

    opened: dict[str, int] = field(default_factory=dict)
    problem: str = ""
    _seen: dict[str, int] = field(default_factory=dict)
    _columns: Mapping[str, Callable[[Any], object]] = field(
        default_factory=lambda: {
            one.rows().model._meta.db_table: one.open for one in sealed_columns.registered()
        }
    )

    def see(self, name: str, row: Row) -> None:
        open_one = self._columns.get(name)
        if open_one is None:
            return
        count = self._seen[name] = self._seen.get(name, 0) + 1
        if self.problem or not (count <= TRIED_OF_EACH_TABLE or count % _AND_EVERY == 0):
            return
        try:
            open_one(model_of(name, row))
        except sealed.SealBroken:
            self.problem = f"The server's keys do not open the rows of {name} in the archive."
        except (sealed.KeysMissing, sealed.KeysInvalid) as error:
            self.problem = (
                f"{error} Without it nothing of {name} in the archive can be read: give its copy as --keys."
            )
        else:
            self.opened[name] = self.opened.get(name, 0) + 1
