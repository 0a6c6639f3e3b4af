"""Which tables hold what only the server's keys can open. Each app registers its own, in its ``AppConfig.ready``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connections, models


@dataclass(frozen=True)
class SealedColumn:
    """``open`` reads one row's sealed column and raises ``SealBroken`` when the keys do not fit."""

    model: str
    open: Callable[[Any], object]

    def rows(self, database: str = DEFAULT_DB_ALIAS) -> models.QuerySet[Any]:
        rows: models.QuerySet[Any] = apps.get_model(self.model)._default_manager.using(database)
        return rows.order_by("pk")


_registered: dict[str, SealedColumn] = {}


def register(model: str, open: Callable[[Any], object]) -> None:
    """``model`` is ``app_label.ModelName``; a second call for the same model replaces the first."""
    _registered[model] = SealedColumn(model, open)


def registered() -> list[SealedColumn]:
    return list(_registered.values())


def in_use(database: str = DEFAULT_DB_ALIAS) -> Iterator[SealedColumn]:
    """Those of which there are rows; a table that was not made yet has none."""
    tables = set(connections[database].introspection.table_names())
    for column in _registered.values():
        if column.rows().model._meta.db_table in tables and column.rows(database).exists():
            yield column
