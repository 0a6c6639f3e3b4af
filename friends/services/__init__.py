"""What people do with each other: one function for each act."""

from __future__ import annotations

from friends.services.blocks import block_person, unblock_person
from friends.services.friendships import end_friendship
from friends.services.peers import Side1, friend_ids_of, peers_of
from friends.services.requests import (
    Answered,
    Requested,
    accept_requests,
    reject_requests,
    request_friendship,
    withdraw_request,
)

__all__ = [
    "Answered",
    "Requested",
    "Side1",
    "accept_requests",
    "block_person",
    "end_friendship",
    "friend_ids_of",
    "peers_of",
    "reject_requests",
    "request_friendship",
    "unblock_person",
    "withdraw_request",
]
