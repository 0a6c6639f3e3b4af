"""A person's key chain: what the server checks before it appends, and what it hands out.

A browser checks it all again and does not rely on this; the server's check keeps nonsense and mistakes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from django.conf import settings
from django.db import transaction

from accounts.errors import ChainConflict, ChainRefused, KeysInvalid, KeysMissing
from accounts.models import KeyChainEntry, User
from accounts.wire import (
    NO_HASH,
    ChainEntry,
    DeviceAdd,
    Genesis,
    MalformedBytes,
    entry_hash,
    parse_entry,
    require_signature,
)
from securechat import events, sealed


def entries_of(user: User, after: int = 0) -> list[bytes]:
    """Those with ``seq`` above ``after``, in order."""
    rows = KeyChainEntry.objects.filter(user=user, seq__gt=after).order_by("seq")
    return [row.entry for row in rows]


def has_keys(user: User) -> bool:
    return KeyChainEntry.objects.filter(user=user, seq=1).exists()


def device_ids(user: User) -> frozenset[bytes]:
    """Of every browser on the chain."""
    return frozenset(_device_ids(parse_entry(entry) for entry in entries_of(user)))


def begin_chain(*, user: User, entries: Sequence[bytes]) -> None:
    """Stores genesis and the first browser; the caller's transaction has locked the person. Raises ``KeysInvalid``."""
    try:
        genesis, first_device = map(_parse, entries)
        _require_genesis(genesis, user)
        _require_next(first_device, before=entries[0], genesis=genesis)
    except (MalformedBytes, ValueError):
        raise KeysInvalid from None
    for seq, entry in enumerate(entries, start=1):
        _store(user, seq, entry)
    _tell(user)


@transaction.atomic
def append_entry(*, user: User, entry: bytes) -> int:
    """Its ``seq``. Raises ``ChainConflict`` when the chain has grown since the browser looked, ``ChainRefused``."""
    User.objects.select_for_update().get(pk=user.pk)
    before = entries_of(user)
    if not before:
        raise KeysMissing
    try:
        parsed = _parse(entry)
        if parsed.seq != len(before) + 1 or parsed.prev != entry_hash(before[-1]):
            raise ChainConflict
        chain = [parse_entry(each) for each in before]
        _require_next(parsed, before=before[-1], genesis=chain[0])
        _require_new_device(parsed, chain)
    except MalformedBytes:
        raise ChainRefused from None
    _store(user, parsed.seq, entry)
    _tell(user)
    return parsed.seq


def _parse(entry: bytes) -> ChainEntry:
    if len(entry) > settings.MAX_CHAIN_ENTRY_BYTES:
        raise MalformedBytes
    return parse_entry(entry)


def _require_genesis(entry: ChainEntry, user: User) -> None:
    payload = entry.payload
    if not isinstance(payload, Genesis) or entry.seq != 1 or entry.prev != NO_HASH:
        raise MalformedBytes
    if payload.origin != settings.PUBLIC_ORIGIN or payload.name != user.folded_name:
        raise MalformedBytes
    require_signature(entry, payload.identity_public)


def _require_next(entry: ChainEntry, *, before: bytes, genesis: ChainEntry) -> None:
    """A browser, signed by the identity of ``genesis``, linked to the bytes of the entry ``before`` it."""
    if not isinstance(entry.payload, DeviceAdd) or not isinstance(genesis.payload, Genesis):
        raise MalformedBytes
    if entry.seq != parse_entry(before).seq + 1 or entry.prev != entry_hash(before):
        raise MalformedBytes
    require_signature(entry, genesis.payload.identity_public)


def _require_new_device(entry: ChainEntry, chain: Sequence[ChainEntry]) -> None:
    if len(chain) >= settings.MAX_CHAIN_ENTRIES or _device_ids([entry]) <= _device_ids(chain):
        raise ChainRefused


def _device_ids(chain: Iterable[ChainEntry]) -> set[bytes]:
    return {entry.payload.device_id for entry in chain if isinstance(entry.payload, DeviceAdd)}


def _store(user: User, seq: int, entry: bytes) -> None:
    KeyChainEntry.objects.create(
        user=user, seq=seq, sealed_entry=sealed.seal(entry, purpose=KeyChainEntry.purpose(user.pk, seq))
    )


def _tell(user: User) -> None:
    transaction.on_commit(partial(events.publish, events.KeysChanged(user.pk)))
