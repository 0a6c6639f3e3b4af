"""Changes of rows that can be taken back: each says how the row was and how it is afterwards, also in a file."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from django.apps import apps
from django.db import models

Columns: TypeAlias = Mapping[str, Any]


class State(enum.Enum):
    BEFORE = enum.auto()
    AFTER = enum.auto()
    OTHER = enum.auto()


@dataclass(frozen=True)
class RowChange:
    """``key`` finds the row; ``None`` stands for no row. Columns that are not named are nobody's concern."""

    model: type[models.Model]
    key: Columns
    before: Columns | None
    after: Columns | None

    def state(self) -> State:
        if self._is_now(self.before):
            return State.BEFORE
        return State.AFTER if self._is_now(self.after) else State.OTHER

    def make(self) -> None:
        """The row must be as it was before."""
        self._write(self.before, self.after)

    def take_back(self) -> None:
        """The row must be as ``make`` left it."""
        self._write(self.after, self.before)

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model._meta.label,
            "key": self._texts(self.key),
            "before": self._texts(self.before),
            "after": self._texts(self.after),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> RowChange:
        model = apps.get_model(stored["model"])

        def values(texts: Mapping[str, str] | None) -> Columns | None:
            if texts is None:
                return None
            return {name: _plain(_field(model, name).to_python(text)) for name, text in texts.items()}

        return cls(model, values(stored["key"]) or {}, values(stored["before"]), values(stored["after"]))

    def _rows(self) -> models.QuerySet[Any]:
        return self.model._default_manager.filter(**self.key)

    def _is_now(self, columns: Columns | None) -> bool:
        if columns is None:
            return not self._rows().exists()
        return columns_of(self._rows(), *columns) == columns

    def _write(self, old: Columns | None, new: Columns | None) -> None:
        if new is None:
            self._rows().delete()
        elif old is None:
            self.model._default_manager.create(**{**self.key, **new})
        else:
            self._rows().update(**new)

    def _texts(self, columns: Columns | None) -> dict[str, str] | None:
        if columns is None:
            return None
        row = self.model(**columns)
        return {name: _field(self.model, name).value_to_string(row) for name in columns}


def columns_of(rows: models.QuerySet[Any], *names: str) -> Columns | None:
    """Of the one row that there is, all columns if none is named."""
    names = names or tuple(field.attname for field in rows.model._meta.concrete_fields)
    row = rows.values(*names).first()
    return None if row is None else {name: _plain(value) for name, value in row.items()}


def state_of(changes: Sequence[RowChange]) -> State:
    """``BEFORE`` also when some of the rows have moved on since, as long as none is as the changes left it."""
    states = {change.state() for change in changes}
    if states == {State.AFTER}:
        return State.AFTER
    return State.BEFORE if State.BEFORE in states and State.AFTER not in states else State.OTHER


def _field(model: type[models.Model], attname: str) -> models.Field[Any, Any]:
    return next(field for field in model._meta.concrete_fields if field.attname == attname)


def _plain(value: Any) -> Any:
    """PostgreSQL and fields give some bytes as a view of them."""
    return bytes(value) if isinstance(value, memoryview) else value
