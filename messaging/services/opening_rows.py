"""All that a socket asks of the database when it opens, in one plain statement: thousands open at once after a restart.

Building and reading it by the ORM took most of the time of an opening.
"""

from __future__ import annotations

import json
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from accounts.models import Sanction, User
from friends.models import Friendship, own_indexes
from messaging.models import Conversation


class FriendshipRow(NamedTuple):
    """A friendship that was approved, and how far its conversation is; ``last_n`` is None where that was not made yet."""

    public_id: UUID
    sender_id: int
    friend_sealed: str
    friend_index: bytes
    status: str
    last_n: int | None


class Opening(NamedTuple):
    friendships: list[FriendshipRow]
    requests: int
    """Of others, that wait for an answer: as ``Friendship.objects.received_by``."""
    may_be_muted: bool
    """There is a mute that was not lifted; it may be over."""


# One row, as the driver of SQLite hands the interpreter to another thread before each, and waits for it.
_STATEMENT = f"""
SELECT
  (SELECT {{all}}(f.public_id, f.sender_id, f.friend_sealed, {{hex}}, f.status, c.last_n))
   FROM {Friendship._meta.db_table} f LEFT JOIN {Conversation._meta.db_table} c ON c.id = f.public_id
   WHERE f.was_approved AND (f.sender_id = %s OR f.friend_index IN ({{indexes}}))),
  (SELECT count(*) FROM {Friendship._meta.db_table}
   WHERE status = '{Friendship.Status.DEFAULT}'
   AND (sender_id = %s AND asked_by_side = 1 OR friend_index IN ({{indexes}}) AND asked_by_side = 0)),
  EXISTS (SELECT 1 FROM {Sanction._meta.db_table}
   WHERE user_id = %s AND kind = '{Sanction.Kind.MUTE}' AND lifted_at IS NULL)
"""  # noqa: S608 - names and words of our own
_DIALECTS = {
    "sqlite": {"all": "json_group_array(json_array", "hex": "hex(f.friend_index)"},
    "postgresql": {"all": "json_agg(json_build_array", "hex": "encode(f.friend_index, 'hex')"},
}


def opening_of(user: User) -> Opening:
    indexes = own_indexes(user.pk)
    statement = _STATEMENT.format(**_DIALECTS[connection.vendor], indexes=", ".join(["%s"] * len(indexes)))
    with connection.cursor() as cursor:
        cursor.execute(statement, [user.pk, *indexes, user.pk, *indexes, user.pk])
        found, requests, may_be_muted = cursor.fetchone()
    rows = json.loads(found) if isinstance(found, str) else found or ()
    return Opening(
        [
            FriendshipRow(UUID(id_), sender, sealed, bytes.fromhex(index), status, last_n)
            for id_, sender, sealed, index, status, last_n in rows
        ],
        requests,
        bool(may_be_muted),
    )
