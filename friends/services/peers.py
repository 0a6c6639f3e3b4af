"""Who is on the other side: by sealed name, checked against the blind index."""

from __future__ import annotations

from collections.abc import Iterable

from accounts.models import User
from accounts.names import fold
from friends.models import Friendship


def peers_of(user: User, friendships: Iterable[Friendship]) -> dict[int, User]:
    """The other person of each row by the row's primary key, in two queries at most. Absent: the account was deleted."""
    rows = list(friendships)
    names = {row.pk: fold(row.friend_name) for row in rows if row.sender_id == user.pk}
    by_name = {
        person.folded_name: person for person in User.objects.filter(folded_name__in=set(names.values()))
    }
    sender_ids = {row.sender_id for row in rows if row.pk not in names}
    by_id = User.objects.in_bulk(sender_ids) if sender_ids else {}
    found = {
        row.pk: by_name.get(names[row.pk]) if row.pk in names else by_id.get(row.sender_id) for row in rows
    }
    return {
        row.pk: peer
        for row in rows
        if (peer := found[row.pk]) is not None and (row.sender_id == peer.pk or row.is_friend(peer))
    }


def people_of(user: User, friendship: Friendship) -> list[User]:
    """``user`` and, while the account exists, the other person."""
    return [user, *peers_of(user, [friendship]).values()]
