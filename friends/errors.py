"""What somebody is told when an act of friendship is refused."""

from __future__ import annotations

import math
from datetime import timedelta

from securechat.errors import DomainError


class InvalidTransition(DomainError):
    """The friendship is not in a state from which that act is possible (any more)."""

    code = "invalid_transition"
    message = "That is no longer possible: something changed in the meantime."
    status = 409


class UnknownUsername(DomainError):
    code = "unknown_username"
    message = "Unknown username!"


class OwnUsername(DomainError):
    code = "own_username"
    message = "You can't add yourself as a friend!"


class AlreadySent(DomainError):
    code = "already_sent"
    message = "You already sent this person a friend request!"


class AlreadyFriends(DomainError):
    code = "already_friends"
    message = "You are already friends!"


class BlockedByYou(DomainError):
    """Only ever said to the person who blocked; who is blocked is not told."""

    code = "blocked_by_you"
    message = "You have blocked this person. Unblock them first, in your friend list."


class AskAgainLater(DomainError):
    """Rejected a short while ago; see ``settings.FRIEND_REQUEST_PAUSE``."""

    code = "ask_again_later"
    message = "This person rejected your friend request. You can ask again later."

    def __init__(self, wait: timedelta) -> None:
        hours = math.ceil(wait / timedelta(hours=1))
        unit = "hour" if hours == 1 else "hours"
        super().__init__(
            f"This person rejected your friend request. You can ask again in {hours} {unit}.",
            retry_after_seconds=math.ceil(wait.total_seconds()),
        )


class FriendshipNotFound(DomainError):
    """No such friendship, or not one of this person's: the two look the same."""

    code = "friendship_not_found"
    message = "That is no longer in your list."
    status = 404
