"""Who is on the other side: by the blind index where this process has met that person before, else by sealed name."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import NamedTuple

from django.db import connection
from django.db.models import Q

from accounts.models import User
from accounts.names import fold
from friends.models import Friendship, own_indexes
from securechat import sealed

_MOST_KNOWN = 200_000
_known: dict[bytes, int] = {}
"""Whose index that is. Nothing makes it wrong: an index follows from the number and the key, and numbers are given once."""


class Side1(NamedTuple):
    """What a row says of its friend; ``key`` is whatever the caller calls the row."""

    key: int
    friend_sealed: str
    friend_index: bytes


def peers_of(user: User, friendships: Iterable[Friendship]) -> dict[int, User]:
    """The other person of each row by the row's primary key, in two queries at most. Absent: the account was deleted."""
    rows = list(friendships)
    asked = [
        Side1(row.pk, row.friend_sealed, bytes(row.friend_index)) for row in rows if row.sender_id == user.pk
    ]
    ids = {row.pk: row.sender_id for row in rows if row.sender_id != user.pk} | friend_ids_of(asked)
    people = User.objects.in_bulk(set(ids.values()))
    return {row: people[peer] for row, peer in ids.items() if peer in people}


def friend_ids_of(rows: Iterable[Side1]) -> dict[int, int]:
    """By the row's key, in one query. Absent: the account was deleted.

    A name can be taken again after that, so the index has the last word.
    """
    asked = list(rows)
    met = {row.key: _known[row.friend_index] for row in asked if row.friend_index in _known}
    if len(met) == len(asked):
        there = _ids_there(set(met.values()))
        return {key: user_id for key, user_id in met.items() if user_id in there}
    names = {row.key: fold(sealed.decrypt_name(row.friend_sealed)) for row in asked if row.key not in met}
    wanted = Q(pk__in=set(met.values())) | Q(folded_name__in=set(names.values()))
    by_name = {name: pk for pk, name in User.objects.filter(wanted).values_list("pk", "folded_name")}
    there = set(by_name.values())
    found = {key: user_id for key, user_id in met.items() if user_id in there}
    if len(_known) > _MOST_KNOWN:
        _known.clear()
    for row in asked:
        user_id = by_name.get(names.get(row.key, ""))
        if user_id is not None and row.friend_index in own_indexes(user_id):
            found[row.key] = _known[row.friend_index] = user_id
    return found


def _ids_there(ids: Collection[int]) -> set[int]:
    """In one plain statement that answers one row: every socket that opens asks it, and the ORM takes ten times as long."""
    if not ids:
        return set()
    sqlite = connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        cursor.execute(_AMONG_SQLITE if sqlite else _AMONG, [json.dumps(list(ids)) if sqlite else list(ids)])
        (found,) = cursor.fetchone()
    return set(json.loads(found) if sqlite else found or ())


_PEOPLE = User._meta.db_table
_AMONG = f"SELECT array_agg(id) FROM {_PEOPLE} WHERE id = ANY(%s)"  # noqa: S608 - a name of ours
_AMONG_SQLITE = f"SELECT json_group_array(id) FROM {_PEOPLE} WHERE id IN (SELECT value FROM json_each(%s))"  # noqa: S608


def people_of(user: User, friendship: Friendship) -> list[User]:
    """``user`` and, while the account exists, the other person."""
    return [user, *peers_of(user, [friendship]).values()]
