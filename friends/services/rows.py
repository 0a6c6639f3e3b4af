"""How an act gets hold of its rows, and how it tells others afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from uuid import UUID

from django.db import connection, transaction

from accounts.models import User
from friends.errors import FriendshipNotFound
from friends.models import Friendship, FriendshipQuerySet
from securechat import events

_INDEX_LOCK = 0x66726965  # "frie", the number of a PostgreSQL advisory lock.


def locked(rows: FriendshipQuerySet) -> list[Friendship]:
    """The rows as they are now, for this transaction alone; always in the same order, so that acts do not deadlock.

    SQLite has no row locks; its transactions begin with the lock of the whole database.
    """
    return list(rows.select_related("sender").order_by("pk").select_for_update(of=("self",)))


def locked_one(rows: FriendshipQuerySet, public_id: UUID) -> Friendship:
    """Raises ``FriendshipNotFound``."""
    found = locked(rows.filter(public_id=public_id))
    if not found:
        raise FriendshipNotFound
    return found[0]


def lock_index_key(*, alone: bool) -> None:
    """Until the end of the transaction nobody begins to use another blind-index key, or (``alone``) makes rows.

    Without it a process that has computed an index under the old key could store a second row for a pair that
    got its first one under the new key.
    """
    if connection.vendor == "postgresql":
        function = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {function}(%s)", [_INDEX_LOCK])


def tell_friendship_changed(friendship: Friendship, people: Iterable[User]) -> None:
    """Only who ever were friends have a conversation that could have changed."""
    if friendship.was_approved:
        ids = tuple(sorted(person.pk for person in people))
        _after_commit(events.FriendshipChanged(user_ids=ids, conversation=friendship.public_id))


def tell_requests_changed(*people: User) -> None:
    for person in people:
        _after_commit(events.RequestsChanged(user_id=person.pk))


def _after_commit(event: events.Event) -> None:
    transaction.on_commit(partial(events.publish, event))
