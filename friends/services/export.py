"""What this app holds about a person, for them: as much of each friendship as they may know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from accounts.models import User
from friends.models import Friendship
from friends.services.peers import peers_of


def friendships(user: User) -> Iterable[Mapping[str, Any]]:
    rows = list(Friendship.objects.visible_to(user).order_by("pk"))
    peers = peers_of(user, rows)
    for row in rows:
        side = row.side_of(user)
        peer = peers.get(row.pk)
        yield {
            "with": peer.username if peer else row.friend_name,
            "status": row.status_for(side),
            "asked_by": "you" if row.asked_by_side == side else "them",
            "asked_at": row.asked_at,
            "answered_at": row.answered_at,
            "approved_at": row.approved_at,
            "ended_at": row.ended_at,
            "conversation": row.public_id if row.was_approved else None,
        }
