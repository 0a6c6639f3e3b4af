"""Catching up, by itself: what it looks at, and in which order."""

from __future__ import annotations

import asyncio
from datetime import datetime

from django.conf import settings

from messaging.catch_up import CatchUp

PEOPLE = 4 * settings.CATCH_UP_PEOPLE


async def test_what_is_missed_while_thousands_are_visited_does_not_wait_for_the_last_of_them() -> None:
    looks: list[int] = []
    visited: list[int] = []
    all_visited = asyncio.Event()

    async def look(since: datetime) -> None:
        looks.append(len(visited))

    async def visit(user_id: int) -> None:
        visited.append(user_id)
        if len(visited) == 1:
            catch_up.missed()
        if len(set(visited)) == PEOPLE:
            all_visited.set()

    catch_up = CatchUp(look=look, visit=visit, everybody=lambda: range(PEOPLE))
    catch_up.listens(True)
    running = asyncio.create_task(catch_up.run())
    try:
        await asyncio.wait_for(all_visited.wait(), settings.CATCH_UP_EVERY.total_seconds())
    finally:
        running.cancel()

    assert looks == [0, settings.CATCH_UP_PEOPLE]
