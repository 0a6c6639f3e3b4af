"""Who is on the other side: by sealed name, checked against the blind index."""

from __future__ import annotations

from collections.abc import Iterable

from accounts.models import User
from accounts.names import fold
from friends.models import Friendship


def peers_of(user: User, friendships: Iterable[Friendship]) -> dict[int, User]:
    """The other person of each row by the row's primary key, in two queries at most. Absent: the account was deleted."""
    ids = peer_ids_of(user, friendships)
    people = User.objects.in_bulk(set(ids.values()))
    return {row: people[peer] for row, peer in ids.items() if peer in people}


def peer_ids_of(user: User, friendships: Iterable[Friendship]) -> dict[int, int]:
    """``peers_of`` in one query, for who needs nothing but the ids."""
    rows = list(friendships)
    asked_by_user = {row.pk: row for row in rows if row.sender_id == user.pk}
    names = {key: fold(row.friend_name) for key, row in asked_by_user.items()}
    by_name = dict(User.objects.filter(folded_name__in=set(names.values())).values_list("folded_name", "pk"))
    friends = {key: by_name[name] for key, name in names.items() if name in by_name}
    senders = {row.pk: row.sender_id for row in rows if row.pk not in names}
    return senders | {key: peer for key, peer in friends.items() if asked_by_user[key].is_friend(peer)}


def people_of(user: User, friendship: Friendship) -> list[User]:
    """``user`` and, while the account exists, the other person."""
    return [user, *peers_of(user, [friendship]).values()]
