"""Threads that keep a database connection each, for what an event loop must not wait for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import DatabaseError, connections

T = TypeVar("T")


class DatabaseThreads:
    """``run`` calls a function in one of at most ``count`` threads; ``close`` ends them and their connections."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._is_closed = False

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Raises ``DatabaseError`` also after ``close``: for who asks, there is no database any more."""
        if self._is_closed:
            raise DatabaseError("The server is ending.")
        return await asyncio.get_running_loop().run_in_executor(self._pool, _call, function, arguments)

    async def close(self) -> None:
        self._is_closed = True
        together = threading.Barrier(self._count)
        closings = [self._pool.submit(_close_connections, together) for _ in range(self._count)]
        await asyncio.gather(*(asyncio.wrap_future(closing) for closing in closings))
        self._pool.shutdown()


def _call(function: Callable[..., T], arguments: tuple[object, ...]) -> T:
    for connection in connections.all(initialized_only=True):
        if connection.settings_dict["CONN_MAX_AGE"]:  # SQLite's 0 would mean a new connection for each call.
            connection.close_if_unusable_or_obsolete()
    try:
        return function(*arguments)
    except DatabaseError:
        connections.close_all()
        raise


def _close_connections(together: threading.Barrier) -> None:
    """Each thread waits for the others, so that none does this twice and all do it."""
    together.wait(timeout=10)
    connections.close_all()
