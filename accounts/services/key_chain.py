"""A person's key chain: what the server checks before it appends, and what it hands out.

A browser checks it all again and does not rely on this; the server's check keeps nonsense and mistakes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from accounts.chain import ChainState, NotNext
from accounts.errors import ChainConflict, ChainRefused, KeysInvalid, KeysMissing
from accounts.models import KeyChainEntry, User
from accounts.wire import AccountKeyRotation, ChainEntry, DeviceAdd, Genesis, MalformedBytes
from securechat import events, sealed

_ENTRIES_OF_A_RENEWAL = 2  # An account key; or a reset and the browser that makes it.


@dataclass(frozen=True)
class Standing:
    """The devices that stand on a chain whose last entry is ``seq``; 0 for no chain."""

    seq: int
    devices: frozenset[bytes]


@dataclass(frozen=True)
class Growth:
    """What an append did: the ``seq`` of its last entry, the devices that it added and that it ended."""

    seq: int
    added: frozenset[bytes]
    ended: frozenset[bytes]
    renewed_vault_key: bool = False

    @property
    def added_device(self) -> bytes | None:
        """The one that was added, none for none or several."""
        return next(iter(self.added)) if len(self.added) == 1 else None


def entries_of(user: User, after: int = 0, *, until: datetime | None = None) -> list[bytes]:
    """Those with ``seq`` above ``after``, in order; ``until`` leaves out what was stored later."""
    rows = KeyChainEntry.objects.filter(user=user, seq__gt=after).order_by("seq")
    if until is not None:
        rows = rows.filter(stored_at__lte=until)
    return [row.entry for row in rows]


def has_keys(user: User) -> bool:
    return KeyChainEntry.objects.filter(user=user, seq=1).exists()


def standing(user: User, known: Standing | None = None) -> Standing:
    """``known`` itself while the chain has not grown since: then it is not read again."""
    if known is not None and known.seq == last_seqs([user.pk]).get(user.pk, 0):
        return known
    state = _state_of(user)
    return Standing(state.seq, state.standing())


def last_seqs(user_ids: Iterable[int]) -> dict[int, int]:
    """How long each of these people's chains is; nothing for who has none."""
    rows = KeyChainEntry.objects.filter(user_id__in=user_ids).order_by().values_list("user_id")
    return dict(rows.annotate(last=Max("seq")))


def device_ids(user: User) -> frozenset[bytes]:
    """Of every browser that stands on the chain now."""
    return standing(user).devices


def begin_chain(*, user: User, entries: Sequence[bytes]) -> Growth:
    """Stores genesis and the first browser; the caller's transaction has locked the person. Raises ``KeysInvalid``."""
    state = _empty_state(user)
    try:
        kinds = [type(_follow(state, entry).payload) for entry in entries]
    except MalformedBytes:
        raise KeysInvalid from None
    if kinds != [Genesis, DeviceAdd]:
        raise KeysInvalid
    _store(user, entries, after=0)
    return Growth(state.seq, state.standing(), frozenset())


def append_entry(*, user: User, entry: bytes) -> int:
    """Its ``seq``. Raises what ``append_entries`` raises."""
    return append_entries(user=user, entries=[entry]).seq


@transaction.atomic
def append_entries(*, user: User, entries: Sequence[bytes]) -> Growth:
    """All or none. Raises ``ChainConflict`` when the chain has grown since the browser looked, ``ChainRefused``."""
    User.objects.select_for_update().get(pk=user.pk)
    state = _state_of(user)
    if not state.seq:
        raise KeysMissing
    before, stood, first_vault_generation = state.seq, state.standing(), state.vault_generation
    for entry in entries:
        vault_generation = state.vault_generation
        try:
            parsed = _follow(state, entry)
        except NotNext:
            raise (ChainConflict if state.seq == before else ChainRefused) from None
        except MalformedBytes:
            raise ChainRefused from None
        _require_room(state, parsed, renews_vault_key=state.vault_generation != vault_generation)
    _store(user, entries, after=before)
    stand = state.standing()
    renewed_vault_key = state.vault_generation != first_vault_generation
    return Growth(state.seq, stand - stood, stood - stand, renewed_vault_key)


def _empty_state(user: User) -> ChainState:
    return ChainState(settings.PUBLIC_ORIGIN, user.folded_name)


def _state_of(user: User) -> ChainState:
    state = _empty_state(user)
    for entry in entries_of(user):
        state.replay(entry)
    return state


def _follow(state: ChainState, entry: bytes) -> ChainEntry:
    if len(entry) > settings.MAX_CHAIN_ENTRY_BYTES:
        raise MalformedBytes
    return state.follow(entry)


def _require_room(state: ChainState, entry: ChainEntry, *, renews_vault_key: bool) -> None:
    """What adds to a chain leaves room for its ends: a revocation of each device, and keys anew or a fresh start."""
    adds = isinstance(entry.payload, DeviceAdd)
    if adds or (isinstance(entry.payload, AccountKeyRotation) and not renews_vault_key):
        room = len(state.standing()) + _ENTRIES_OF_A_RENEWAL
    else:
        room = 0
    if state.seq + room > settings.MAX_CHAIN_ENTRIES:
        raise ChainRefused


def _store(user: User, entries: Sequence[bytes], *, after: int) -> None:
    now = timezone.now()
    KeyChainEntry.objects.bulk_create(
        KeyChainEntry(
            user=user,
            seq=seq,
            sealed_entry=sealed.seal(entry, purpose=KeyChainEntry.purpose(user.pk, seq)),
            stored_at=now,
        )
        for seq, entry in enumerate(entries, start=after + 1)
    )
    transaction.on_commit(partial(events.publish, events.KeysChanged(user.pk)))
