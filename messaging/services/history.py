"""Reading back what was stored: pages of a conversation, and what became of single messages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from django.conf import settings
from django.db.models import F, Q

from messaging.models import Conversation, Envelope
from messaging.protocol import FoundItem, Row, encoded_bytes
from messaging.services.conversations import Membership, milliseconds, row_of
from messaging.wire import first_log_hash

_PAGE_BYTES = 1_024  # What surrounds the rows in their frame, amply.


@dataclass(frozen=True)
class Page:
    rows: tuple[Row, ...]
    before_hash: bytes
    last_n: int
    more: bool


def page(membership: Membership, direction: Literal["before", "after"], n: int, limit: int) -> Page:
    """At most ``limit`` rows and never more than a frame holds, ascending; ``before`` with ``n`` = 0 is from the newest."""
    if direction == "before":
        return _before(membership.conversation, n, limit)
    return _after(membership.conversation, n, limit)


def found(membership: Membership, client_ids: Collection[UUID]) -> tuple[FoundItem, ...]:
    """Those of this side's ``client_ids`` that are stored."""
    rows = Envelope.objects.filter(
        conversation=membership.conversation, side=membership.side, client_id__in=client_ids
    )
    return tuple(
        FoundItem(client_id=client_id, n=n, stored_at=milliseconds(stored_at))
        for client_id, n, stored_at in rows.order_by("n").values_list("client_id", "n", "stored_at")
    )


def _before(conversation: UUID, n: int, limit: int) -> Page:
    # One more than asked for: its hash is the one before the first, and it shows that there are more.
    rows, last_n = _rows(conversation, Q(n__lt=n) if n else Q(), "-n", limit + 1)
    kept = _fitting([row_of(row) for row in rows[:limit]])
    one_before = rows[len(kept)] if len(kept) < len(rows) else None
    return Page(
        rows=tuple(reversed(kept)),
        before_hash=bytes(one_before.log_hash) if one_before else first_log_hash(conversation),
        last_n=last_n,
        more=one_before is not None,
    )


def _after(conversation: UUID, n: int, limit: int) -> Page:
    # Row ``n`` itself, for its hash, and one more than asked for, which shows that there are more.
    rows, last_n = _rows(conversation, Q(n__gte=n), "n", limit + 2)
    if n == 0:
        before_hash = first_log_hash(conversation)
    elif rows:
        before_hash = bytes(rows.pop(0).log_hash)
    else:  # The browser knows more than was ever stored; it sees that in ``last_n``.
        before_hash = bytes(_state(conversation).log_hash)
    kept = _fitting([row_of(row) for row in rows[:limit]])
    return Page(rows=tuple(kept), before_hash=before_hash, last_n=last_n, more=len(kept) < len(rows))


def _rows(conversation: UUID, which: Q, order: str, at_most: int) -> tuple[list[Envelope], int]:
    """With the conversation's newest number at the same moment: one query, where there are such rows.

    Where there are none they are looked for once more after the number was read: it may count a message that was stored since,
    and a browser takes a number without its row for a gap.
    """
    among = Envelope.objects.filter(which, conversation=conversation)
    found = among.annotate(last_n=F("conversation__last_n")).order_by(order)[:at_most]
    rows = list(found)
    if rows:
        return list(rows), rows[0].last_n
    last_n = _state(conversation).last_n
    rows = list(found.all())
    return list(rows), rows[0].last_n if rows else last_n


def _state(conversation: UUID) -> Conversation:
    return Conversation.objects.get(friendship__public_id=conversation)


def _fitting(rows: Sequence[Row]) -> list[Row]:
    """The first of them, as many as a frame holds; one always does."""
    room = settings.MAX_FRAME_BYTES - _PAGE_BYTES
    kept = []
    for row in rows:
        room -= encoded_bytes(row)
        if room < 0:
            break
        kept.append(row)
    return kept
