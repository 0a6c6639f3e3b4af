"""What a piece of code asks the database, and how the database goes about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection


@dataclass(frozen=True)
class Statement:
    sql: str
    parameters: Any

    def plan(self) -> str:
        """One step a line, in the database's own words."""
        explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN (COSTS OFF)"
        with connection.cursor() as cursor:
            cursor.execute(f"{explain} {self.sql}", self.parameters)
            return "\n".join(str(row[-1]) for row in cursor.fetchall())


@contextmanager
def of_the_driver() -> Iterator[list[str]]:
    """All that SQLite's driver executes, or Django on PostgreSQL, which COPY and the ends of transactions are not in."""
    seen: list[str] = []
    if connection.vendor == "sqlite":
        connection.ensure_connection()
        connection.connection.set_trace_callback(seen.append)
        try:
            yield seen
        finally:
            connection.connection.set_trace_callback(None)
        return
    with statements() as asked:
        yield seen
    seen += [statement.sql for statement in asked]


@contextmanager
def statements() -> Iterator[list[Statement]]:
    """Those of the default connection, as they are executed meanwhile."""
    seen: list[Statement] = []

    def note(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        seen.append(Statement(sql, parameters))
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(note):
        yield seen
