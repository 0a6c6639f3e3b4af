"""What becomes of friendships when an account is deleted: open ones end, and a friend keeps the history."""

from __future__ import annotations

from accounts.models import User
from accounts.services.deletion import Deletion
from friends.models import Friendship
from friends.services.peers import peers_of
from friends.services.rows import locked, tell_friendship_changed, tell_requests_changed


def end_all(deletion: Deletion) -> None:
    """A row that nobody else needs goes, and with it the conversation."""
    user = deletion.user
    rows = locked(Friendship.objects.involving(user))
    peers = peers_of(user, rows)
    for friendship in rows:
        peer = peers.get(friendship.pk)
        if peer is None or peer.is_deleted:
            _remove(deletion, friendship, peer)
        elif friendship.was_approved:
            _close(deletion, friendship, peer)
        else:
            deletion.removed["requests and blocks"] += 1
            friendship.delete()
            tell_requests_changed(peer)


def _close(deletion: Deletion, friendship: Friendship, peer: User) -> None:
    deletion.kept["conversations, for the friend"] += 1
    deletion.name_stays = True
    if friendship.is_open:
        friendship.end(now=deletion.at)
    elif Friendship.Status.DEFAULT in (friendship.status, friendship.status_below):
        friendship.withdraw()
        tell_requests_changed(peer)
    friendship.store()
    tell_friendship_changed(friendship, [peer])


def _remove(deletion: Deletion, friendship: Friendship, peer: User | None) -> None:
    """The friend's account was deleted before: the name that was kept for this history is not needed any more."""
    deletion.removed["conversations that nobody else has"] += friendship.was_approved
    friendship.delete()
    if peer is not None and not Friendship.objects.involving(peer).exists():
        deletion.removed["names of deleted friends"] += 1
        peer.delete()
