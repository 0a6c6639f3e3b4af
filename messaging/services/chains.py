"""Key chains, as the two people of a conversation may read them."""

from __future__ import annotations

from datetime import timedelta
from itertools import takewhile

from django.conf import settings

from accounts.models import User
from accounts.services import key_chain
from accounts.wire import parse_entry
from friends.models import Friendship
from messaging.protocol import Whose, base64url_length
from messaging.services.conversations import Membership, milliseconds, peer_in

_CHAIN_BYTES = 1_024  # What surrounds the entries in their frame, amply.
_CLOCK_TOLERANCE = timedelta(
    days=1
)  # An entry's time is from its browser, and a chain must not seem to shrink.


def entries_after(reader: User, membership: Membership, whose: Whose, seq: int) -> tuple[list[bytes], bool]:
    """Entries with a larger ``seq``, as many as a frame holds, and whether there are more.

    The peer's only up to the end of the friendship; of an account that is gone there are none.
    """
    if whose == "own":
        return _fitting(key_chain.entries_of(reader, after=seq))
    peer = peer_in(membership)
    if peer is None:
        return [], False
    return _fitting(_readable(membership, key_chain.entries_of(peer, after=seq)))


def _readable(membership: Membership, entries: list[bytes]) -> list[bytes]:
    friendship = Friendship.objects.get(public_id=membership.conversation)
    if friendship.is_open or friendship.ended_at is None:
        return entries
    end = milliseconds(friendship.ended_at + _CLOCK_TOLERANCE)
    return list(takewhile(lambda entry: parse_entry(entry).at_milliseconds <= end, entries))


def _fitting(entries: list[bytes]) -> tuple[list[bytes], bool]:
    room = settings.MAX_FRAME_BYTES - _CHAIN_BYTES
    fitting = []
    for entry in entries:
        room -= base64url_length(len(entry)) + len('"",')
        if room < 0:
            break
        fitting.append(entry)
    return fitting, len(fitting) < len(entries)
