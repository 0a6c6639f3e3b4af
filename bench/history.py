"""What reading costs where there is much: a page of a conversation of a million messages, and a list of 500 conversations.

python -m bench.history [--messages 1000000] [--conversations 500] [--foreign 20000] [--folder /dev/shm]

On SQLite and on PostgreSQL, each in a process of its own, without a server: services are called as the socket calls them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from bench.inside import figures_of

PAGE_ROWS = 50
_FEW = 1_000
_PAGES = 200
_ENVELOPE_BYTES = 300
_WHOLE_TABLE = re.compile("Seq Scan on|SCAN [a-z]+_")
# Rows as the writer leaves them, but for what they say. SQLite keeps a UUID as text.
_FILL = {
    "sqlite": """
        WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < %(count)s)
        INSERT INTO messaging_envelope (conversation_id, n, side, client_id, epoch, writer, writer_seq, envelope,
                                        envelope_hash, log_hash, stored_at)
        SELECT %(conversation)s, n, n %% 2, lower(hex(randomblob(16))), 1, %(writer)s, n, randomblob(%(bytes)s),
               randomblob(32), randomblob(32), '2026-01-01 00:00:00' FROM counted""",
    "postgresql": """
        INSERT INTO messaging_envelope (conversation_id, n, side, client_id, epoch, writer, writer_seq, envelope,
                                        envelope_hash, log_hash, stored_at)
        SELECT %(conversation)s, n, n %% 2, gen_random_uuid(), 1, %(writer)s, n,
               decode(repeat(md5(n::text), %(bytes)s / 16), 'hex'), sha256(n::text::bytea),
               sha256(n::text::bytea), now() FROM generate_series(1, %(count)s) AS counted(n)""",
}


def main() -> None:
    arguments = _arguments()
    if arguments.inside:
        print(json.dumps(_measure(arguments)))
        return
    from bench.postgresql import PostgreSQL
    from bench.results import record

    figures: dict[str, Any] = {
        "messages": arguments.messages,
        "conversations": arguments.conversations,
        "foreign_conversations": arguments.foreign,
    }
    with tempfile.TemporaryDirectory(prefix="securechat-bench-", dir=arguments.folder) as folder:
        figures["sqlite"] = figures_of("bench.history", Path(folder) / "sqlite", {})
        database = PostgreSQL(Path(folder) / "postgresql-data")
        database.start()
        try:
            figures["postgresql"] = figures_of(
                "bench.history", Path(folder) / "postgresql", {"DATABASE_URL": database.url}
            )
        finally:
            database.stop()
    record("history", figures, command="python -m bench.history " + " ".join(sys.argv[1:]))


def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "securechat.settings")
    import django

    django.setup()
    from django.conf import settings
    from django.db import connection

    from bench import crowd
    from messaging.services.conversations import membership_of
    from securechat.serving.valkey import EmbeddedValkey

    began = time.monotonic()
    me, *others = crowd.make_people(1 + max(arguments.conversations, 200))
    friends = others[: arguments.conversations]
    half = len(friends) // 2
    mine = crowd.befriend([(me, friend) for friend in friends[:half]])
    mine += crowd.befriend([(friend, me) for friend in friends[half:]])
    crowd.befriend(_foreign(others, arguments.foreign))
    for number, conversation in enumerate(mine):
        _fill(conversation, {0: arguments.messages, 1: _FEW}.get(number, 1))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    filled = time.monotonic() - began
    many, few = membership_of(me, mine[0]), membership_of(me, mine[1])
    with EmbeddedValkey(Path(settings.EMBEDDED_REDIS_SOCKET)):
        return {
            "seconds_to_fill": round(filled),
            "page_of_many": _pages(many, arguments.messages),
            "page_of_a_thousand": _pages(few, _FEW),
            "ratio_many_over_a_thousand": _ratio(many, few, arguments.messages),
            "list": _list(me),
        }


def _foreign(people: list[Any], count: int) -> list[tuple[Any, Any]]:
    """Friendships that are none of mine, for the planner to choose among."""
    pairs = ((first, second) for index, first in enumerate(people) for second in people[index + 1 :])
    return [pair for pair, _ in zip(pairs, range(count), strict=False)]


def _fill(conversation: UUID, count: int) -> None:
    from django.db import connection

    from messaging.models import Conversation

    with connection.cursor() as cursor:
        cursor.execute(
            _FILL[connection.vendor],
            {
                "conversation": conversation if connection.vendor == "postgresql" else conversation.hex,
                "writer": os.urandom(16),
                "bytes": _ENVELOPE_BYTES,
                "count": count,
            },
        )
    Conversation.objects.filter(friendship__public_id=conversation).update(last_n=count)


def _pages(membership: Any, last_n: int) -> dict[str, Any]:
    """From anywhere in the conversation, both ways."""
    figures: dict[str, Any] = {}
    for direction in ("before", "after"):
        took, queries, plan = _time(membership, last_n, direction)
        figures[direction] = {
            "p50_milliseconds": round(statistics.median(took) * 1000, 2),
            "p99_milliseconds": round(statistics.quantiles(took, n=100)[98] * 1000, 2),
            "queries": queries,
            "plan": plan,
        }
    return figures


def _ratio(many: Any, few: Any, last_n: int) -> float:
    """Of medians, taken in turn so that both meet the same moments."""
    both: tuple[list[float], list[float]] = [], []
    for _ in range(5):
        for took, membership, last in ((both[0], many, last_n), (both[1], few, _FEW)):
            took += _time(membership, last, "before")[0]
    return round(statistics.median(both[0]) / statistics.median(both[1]), 2)


def _time(
    membership: Any, last_n: int, direction: Literal["before", "after"] | str
) -> tuple[list[float], int, list[str]]:
    from messaging.services import history
    from tests.query_plans import statements

    took = []
    chosen = random.Random(last_n)  # The same pages each time.
    for _ in range(_PAGES):
        n = chosen.randint(PAGE_ROWS + 1, last_n - PAGE_ROWS)
        began = time.perf_counter()
        page = history.page(membership, "before" if direction == "before" else "after", n, PAGE_ROWS)
        took.append(time.perf_counter() - began)
        assert len(page.rows) == PAGE_ROWS
    with statements() as asked:
        history.page(membership, "before" if direction == "before" else "after", last_n // 2, PAGE_ROWS)
    return took, len(asked), asked[-1].plan().splitlines()


def _list(user: Any) -> dict[str, Any]:
    """The whole list, page by page."""
    from messaging.services.conversations import page_of_summaries
    from tests.query_plans import statements

    took, queries, found, before, more = [], [], 0, None, True
    plans: list[str] = []
    while more:
        with statements() as asked:
            began = time.perf_counter()
            summaries, more = page_of_summaries(user, before)
            took.append(time.perf_counter() - began)
        queries.append(len(asked))
        plans = [line for one in asked for line in one.plan().splitlines()]
        found += len(summaries)
        before = summaries[-1].conversation
    return {
        "conversations": found,
        "pages": len(took),
        "queries_of_each_page": sorted(set(queries)),
        "first_page_milliseconds": round(took[0] * 1000, 1),
        "slowest_page_milliseconds": round(max(took) * 1000, 1),
        "whole_tables_read": sorted({line.strip() for line in plans if _WHOLE_TABLE.search(line)}),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--conversations", type=int, default=500)
    parser.add_argument("--foreign", type=int, default=20_000, help="conversations of other people")
    parser.add_argument("--folder", help="where the databases are")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
