"""`manage.py serve` with one promise of delivery broken on purpose, for what the chaos run's checker has to notice.

python -m tests.chaos.broken PROMISE …, in that server's environment, as the wrapper of its command, which it then is.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import django

_FAILING_COMMIT = 10


def acknowledge_before_commit() -> None:
    """And every tenth commit then fails, as it does where a process dies or a disk is full."""
    from django.db import transaction

    from messaging.services import delivery
    from messaging.services.delivery import Outcome, Submission

    store, batches = delivery.store, itertools.count(1)

    def promise(batch: Sequence[Submission], **how: Any) -> list[Outcome]:
        if next(batches) % _FAILING_COMMIT:
            return store(batch, **how)
        with transaction.atomic():
            outcomes = store(batch, **how)
            transaction.set_rollback(True)
        return outcomes

    delivery.store = promise


def forget_client_ids() -> None:
    """No look at what is stored, no constraint in the database, and nothing found by who asks."""
    from django.db import connection

    from messaging.models import Envelope
    from messaging.services import batch_rows, history

    named = {constraint.name: constraint for constraint in Envelope._meta.constraints}
    constraint = named.pop("envelope_one_per_client_id")
    Envelope._meta.constraints = list(named.values())  # SQLite's table is made anew as the model then says.
    with connection.schema_editor() as editor:
        editor.remove_constraint(Envelope, constraint)
    connection.close()
    batch_rows.with_client_ids = lambda keys: {}
    history.found = lambda membership, client_ids: ()


def number_by_a_clock() -> None:
    from django.db import transaction

    from messaging.models import Conversation
    from messaging.services import delivery
    from messaging.services.delivery import Outcome, Submission

    store = delivery.store

    @transaction.atomic
    def by_a_clock(batch: Sequence[Submission], **how: Any) -> list[Outcome]:
        ids = {UUID(bytes=submission.header.conversation) for submission in batch}
        Conversation.objects.filter(friendship__public_id__in=ids).update(last_n=time.time_ns() // 1_000_000)
        return store(batch, **how)

    delivery.store = by_a_clock


def keep_what_is_stored_to_oneself() -> None:
    """Other processes are not told."""
    from securechat import events

    publish = events.apublish

    async def silent(event: events.Event) -> None:
        if not isinstance(event, events.EnvelopesStored):
            await publish(event)

    events.apublish = silent


PROMISES: tuple[Callable[[], None], ...] = (
    acknowledge_before_commit,
    forget_client_ids,
    number_by_a_clock,
    keep_what_is_stored_to_oneself,
)


def wrapper(promise: Callable[[], None]) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.chaos.broken", promise.__name__)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "securechat.settings")
    django.setup()
    next(promise for promise in PROMISES if promise.__name__ == sys.argv[1])()
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", "serve"])


if __name__ == "__main__":
    main()
