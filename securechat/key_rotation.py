"""Putting rows under the newest key, a batch at a time, while the server runs. Killed half-way, it continues."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from django.db import models, transaction

from securechat import sealed


class RowsDoNotOpen(Exception):
    """Some row is sealed by a key that is not in the ring, so nothing may be forgotten or rotated."""


@dataclass(frozen=True)
class Progress:
    """``rewritten``: under an older key so far (and, unless it was a dry run, under the newest now)."""

    table: str
    seen: int
    total: int
    rewritten: int


@dataclass(frozen=True)
class Walk:
    """How to go through the rows: ``dry_run`` counts and changes nothing."""

    batch_rows: int = 500
    dry_run: bool = False
    report: Callable[[Progress], None] = lambda progress: None


# New column values by primary key, for those of the given rows that are not under the newest key yet.
Rewrite: TypeAlias = Callable[[list[Any]], Mapping[Any, Mapping[str, object]]]


def walk(rows: models.QuerySet[Any], rewrite: Rewrite, how: Walk) -> Progress:
    """Each batch is one transaction that locks its rows. Raises ``RowsDoNotOpen``."""
    table = rows.model._meta.label
    progress = Progress(table, seen=0, total=rows.count(), rewritten=0)
    after: Any = None
    while True:
        with transaction.atomic():
            later = rows.order_by("pk") if after is None else rows.order_by("pk").filter(pk__gt=after)
            batch = list(later.select_for_update()[: how.batch_rows])
            if not batch:
                return progress
            changed = _rewritten(rewrite, batch, table)
            if not how.dry_run:
                for key, values in changed.items():
                    rows.model._default_manager.filter(pk=key).update(**values)
        after = batch[-1].pk
        seen = progress.seen + len(batch)
        progress = Progress(table, seen, max(seen, progress.total), progress.rewritten + len(changed))
        how.report(progress)


def _rewritten(rewrite: Rewrite, batch: list[Any], table: str) -> Mapping[Any, Mapping[str, object]]:
    try:
        return rewrite(batch)
    except sealed.SealBroken:
        raise RowsDoNotOpen(
            f"There are rows of {table} that no key in the ring opens; nothing of their batch was changed."
        ) from None


def reseal(
    rows: models.QuerySet[Any], column: str, opened: Callable[[Any], tuple[bytes, str]], how: Walk
) -> Progress:
    """``opened`` gives a row's plaintext and the purpose that it is sealed for. Every row is opened, if only to check."""

    def rewrite(batch: list[Any]) -> dict[Any, dict[str, object]]:
        contents = [(row, *opened(row)) for row in batch]
        return {
            row.pk: {column: sealed.seal(plaintext, purpose=purpose)}
            for row, plaintext, purpose in contents
            if not sealed.is_sealed_by_newest(getattr(row, column))
        }

    return walk(rows, rewrite, how)


@contextmanager
def changing_key_file(path: Path) -> Iterator[None]:
    """One command at a time: waits for the other to finish."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
