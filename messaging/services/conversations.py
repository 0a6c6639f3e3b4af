"""Which conversations somebody has, and what their list of chats shows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Q

from accounts.models import KeyChainEntry, User
from friends.models import Friendship
from friends.services import Side1, friend_ids_of, peers_of
from messaging import presence
from messaging.errors import ConversationNotFound
from messaging.models import Conversation, Envelope, Head, Side
from messaging.protocol import Row, Summary, encoded_bytes
from messaging.services import batch_rows
from messaging.services.opening_rows import FriendshipRow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SUMMARIES_BYTES = 4_096  # What surrounds the summaries in their frame, amply.


@dataclass(frozen=True)
class Membership:
    """That somebody is one of the two people of a conversation: who holds one may read it."""

    conversation: UUID
    side: Side
    peer_id: int | None
    open: bool


def peer_in(membership: Membership) -> User | None:
    """None when that account is gone."""
    return User.objects.filter(pk=membership.peer_id).first() if membership.peer_id is not None else None


def memberships_of(user: User, rows: Sequence[FriendshipRow]) -> dict[UUID, Membership]:
    """In a fixed number of queries. Makes the conversations of new friendships."""
    if any(row.last_n is None for row in rows):
        Conversation.objects.make_missing(user)
    asked = [
        Side1(place, row.friend_sealed, row.friend_index)
        for place, row in enumerate(rows)
        if row.sender_id == user.pk
    ]
    friend_ids = friend_ids_of(asked)
    memberships = {}
    for place, row in enumerate(rows):
        is_sender = row.sender_id == user.pk
        memberships[row.public_id] = Membership(
            conversation=row.public_id,
            side=0 if is_sender else 1,
            peer_id=friend_ids.get(place) if is_sender else row.sender_id,
            open=row.status == Friendship.Status.APPROVE,
        )
    return memberships


def membership_of(user: User, conversation: UUID) -> Membership:
    """Raises ``ConversationNotFound``."""
    row = Friendship.objects.conversations_of(user).filter(public_id=conversation).first()
    if row is None:
        raise ConversationNotFound
    Conversation.objects.bulk_create([Conversation.of(conversation)], ignore_conflicts=True)
    peer = peers_of(user, [row]).get(row.pk)
    return Membership(
        conversation=row.public_id,
        side=row.side_of(user),
        peer_id=peer.pk if peer else None,
        open=row.is_open,
    )


def summary_of(user: User, conversation: UUID) -> Summary:
    """Raises ``ConversationNotFound``."""
    membership_of(user, conversation)
    rows = (
        Conversation.objects.visible_to(user)
        .filter(friendship__public_id=conversation)
        .select_related("friendship")
    )
    for summary in _summaries(user, rows):
        return summary
    raise ConversationNotFound


def page_of_summaries(user: User, before: UUID | None) -> tuple[list[Summary], bool]:
    """Newest activity first, after the conversation ``before``; with whether there are more.

    As many as the page has rows and the frame has room. Raises ``ConversationNotFound`` for a foreign ``before``.
    """
    Conversation.objects.make_missing(user)
    visible = Conversation.objects.visible_to(user).select_related("friendship")
    if before is not None:
        mark = visible.filter(friendship__public_id=before).first()
        if mark is None:
            raise ConversationNotFound
        visible = visible.filter(
            Q(active_at__lt=mark.active_at) | Q(active_at=mark.active_at, pk__lt=mark.pk)
        )
    rows = list(visible.order_by("-active_at", "-pk")[: settings.CONVERSATIONS_PAGE_ROWS + 1])
    found = _summaries(user, rows[: settings.CONVERSATIONS_PAGE_ROWS])
    fitting = list(_while_fitting(found))
    return fitting, len(fitting) < len(rows)


def row_of(envelope: Envelope) -> Row:
    return Row(
        n=envelope.n,
        side=_side(envelope.side),
        client_id=envelope.client_id,
        envelope=bytes(envelope.envelope),
        stored_at=milliseconds(envelope.stored_at),
    )


def milliseconds(moment: datetime) -> int:
    """Since 1970, as in every frame."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _summaries(user: User, rows: Iterable[Conversation]) -> list[Summary]:
    conversations = list(rows)
    ids = [conversation.pk for conversation in conversations]
    peers = peers_of(user, [conversation.friendship for conversation in conversations])
    last = {row.conversation_id: row for row in _last_envelopes(conversations)}
    heads = {
        (row.conversation_id, row.side): bytes(row.head) for row in Head.objects.filter(conversation__in=ids)
    }
    with_keys = _with_keys([peer.pk for peer in peers.values()])
    online = presence.is_online(
        peers[row.friendship.pk].pk
        for row in conversations
        if row.friendship.is_open and row.friendship.pk in peers
    )
    return [
        _summary(
            row,
            side=row.friendship.side_of(user),
            peer=peers.get(row.friendship.pk),
            last=last.get(row.pk),
            heads=(heads.get((row.pk, 0)), heads.get((row.pk, 1))),
            with_keys=with_keys,
            online=online,
        )
        for row in conversations
    ]


def _summary(
    row: Conversation,
    *,
    side: Side,
    peer: User | None,
    last: Envelope | None,
    heads: tuple[bytes | None, bytes | None],
    with_keys: Collection[int],
    online: dict[int, bool | None],
) -> Summary:
    return Summary(
        conversation=row.pk,
        peer=peer.username if peer else row.friendship.friend_name,
        side=side,
        open=row.friendship.is_open and peer is not None and not peer.is_deleted,
        online=online.get(peer.pk, False) if peer else False,
        last_n=row.last_n,
        epoch=row.epoch,
        peer_has_keys=peer is not None and peer.pk in with_keys,
        peer_deleted=peer is None or peer.is_deleted,
        last=row_of(last) if last else None,
        heads=heads,
        active_at=milliseconds(row.active_at),
    )


def _last_envelopes(conversations: Sequence[Conversation]) -> Iterable[Envelope]:
    return batch_rows.numbered({(row.pk.bytes, row.last_n) for row in conversations if row.last_n})


def _with_keys(user_ids: Sequence[int]) -> set[int]:
    return set(KeyChainEntry.objects.filter(user__in=user_ids, seq=1).values_list("user_id", flat=True))


def _while_fitting(summaries: Iterable[Summary]) -> Iterator[Summary]:
    room = settings.MAX_FRAME_BYTES - _SUMMARIES_BYTES
    for summary in summaries:
        room -= encoded_bytes(summary)
        if room < 0:
            return
        yield summary


def _side(number: int) -> Side:
    return 1 if number else 0
