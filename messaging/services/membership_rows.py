"""All conversations of one person in one plain statement: what a socket asks when it opens, and thousands ask at once after a
restart. Building and reading it by the ORM took most of the time of an opening.
"""

from __future__ import annotations

import json
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from accounts.models import User
from friends.models import Friendship, own_indexes
from messaging.models import Conversation


class MembershipRow(NamedTuple):
    """A friendship that was approved, and how far its conversation is; ``last_n`` is None where that was not made yet."""

    public_id: UUID
    sender_id: int
    friend_sealed: str
    friend_index: bytes
    status: str
    last_n: int | None


_FROM = (
    f"FROM {Friendship._meta.db_table} f LEFT JOIN {Conversation._meta.db_table} c ON c.id = f.public_id "
    "WHERE f.was_approved AND (f.sender_id = {place} OR f.friend_index {among})"
)
_POSTGRESQL = (
    "SELECT f.public_id, f.sender_id, f.friend_sealed, f.friend_index, f.status, c.last_n "
    + _FROM.format(place="%s", among="= ANY(%s)")
)
# One row, as the driver hands the interpreter to another thread before each, and waits for it.
_SQLITE = (
    "SELECT json_group_array(json_array(f.public_id, f.sender_id, f.friend_sealed, hex(f.friend_index), "
    "f.status, c.last_n)) " + _FROM
)


def rows_of(user: User) -> list[MembershipRow]:
    indexes = sorted(own_indexes(user.pk))
    if connection.vendor == "sqlite":
        places = f"IN ({', '.join('?' * len(indexes))})"
        connection.ensure_connection()
        with connection.wrap_database_errors:
            ((found,),) = connection.connection.execute(
                _SQLITE.format(place="?", among=places), (user.pk, *indexes)
            ).fetchall()
        return [
            MembershipRow(UUID(id_), sender, sealed, bytes.fromhex(index), status, last_n)
            for id_, sender, sealed, index, status, last_n in json.loads(found)
        ]
    with connection.cursor() as cursor:
        cursor.execute(_POSTGRESQL, [user.pk, indexes])
        return [
            MembershipRow(id_, sender, sealed, bytes(index), status, last_n)
            for id_, sender, sealed, index, status, last_n in cursor.fetchall()
        ]
