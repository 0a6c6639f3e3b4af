"""Many rows, some at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TypeVar

from django.db import models

Row = TypeVar("Row", bound=models.Model)


def batches_by_key(rows: models.QuerySet[Row], key: str = "pk", *, at_once: int) -> Iterator[list[Row]]:
    """In the order of ``key``, which no two of the rows share: each is given out once, whatever happens to those before it.

    Each batch is a query of its own. `QuerySet.iterator` would keep a cursor open in PostgreSQL until the iterator is
    collected as garbage, which may be in somebody else's transaction if the walk was broken off.
    """
    rows = rows.order_by(key)
    later = rows
    while batch := list(later[:at_once]):
        yield batch
        later = rows.filter(**{f"{key}__gt": getattr(batch[-1], key)})


def rows_by_key(rows: models.QuerySet[Row], key: str = "pk", *, at_once: int) -> Iterator[Row]:
    """The same, one by one."""
    return chain.from_iterable(batches_by_key(rows, key, at_once=at_once))
