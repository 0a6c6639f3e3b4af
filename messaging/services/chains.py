"""Key chains, as the two people of a conversation may read them."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings

from accounts.models import User
from accounts.services import key_chain
from friends.models import Friendship
from messaging.errors import PeerHasNoKeys
from messaging.protocol import Whose, base64url_length
from messaging.services.conversations import Membership, peer_in

_CHAIN_BYTES = 1_024  # What surrounds the entries in their frame, amply.
# Processes' clocks differ a little, and a chain must not seem to shrink.
_CLOCK_TOLERANCE = timedelta(minutes=1)


def entries_after(reader: User, membership: Membership, whose: Whose, seq: int) -> tuple[list[bytes], bool]:
    """Entries with a larger ``seq``, as many as a frame holds, and whether there are more.

    The peer's only up to the end of the friendship. Raises ``PeerHasNoKeys`` when that account is gone: an empty chain
    would look like one that was cut off.
    """
    if whose == "own":
        return _fitting(key_chain.entries_of(reader, after=seq))
    peer = peer_in(membership)
    if peer is None:
        raise PeerHasNoKeys
    return _fitting(key_chain.entries_of(peer, after=seq, until=_end_of(membership)))


def _end_of(membership: Membership) -> datetime | None:
    friendship = Friendship.objects.get(public_id=membership.conversation)
    if friendship.is_open or friendship.ended_at is None:
        return None
    return friendship.ended_at + _CLOCK_TOLERANCE


def _fitting(entries: list[bytes]) -> tuple[list[bytes], bool]:
    room = settings.MAX_FRAME_BYTES - _CHAIN_BYTES
    fitting = []
    for entry in entries:
        room -= base64url_length(len(entry)) + len('"",')
        if room < 0:
            break
        fitting.append(entry)
    return fitting, len(fitting) < len(entries)
