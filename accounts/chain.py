"""Where a key chain stands: who signs, which browsers stand, which keys are the newest. docs/protocol.md section 4."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import assert_never

from accounts.wire import (
    NO_HASH,
    AccountKeyRotation,
    ChainEntry,
    DeviceAdd,
    DeviceRetire,
    DeviceRevoke,
    Genesis,
    MalformedBytes,
    Reset,
    entry_hash,
    parse_entry,
    require_signature,
)


class NotNext(MalformedBytes):
    """Well formed, but it does not follow the entry that is the last: the chain has grown, or was cut."""


class EntryRefused(MalformedBytes):
    """It follows the last one, and the chain's rules forbid what it says, or another key signed it."""


@dataclass(frozen=True)
class Device:
    """``ended_seq`` is the entry that ended it, ``None`` while it stands."""

    public: bytes
    added_seq: int
    ended_seq: int | None = None


@dataclass
class ChainState:
    """After the entries so far. ``origin`` and ``name`` (folded) are the expected ones; nothing stands before genesis.

    Raises ``MalformedBytes`` (``NotNext``, ``EntryRefused``), and is then as it was before.
    """

    origin: str
    name: str
    seq: int = 0
    head: bytes = NO_HASH
    identity_public: bytes = b""
    generation: int = 0
    vault_generation: int = 1
    devices: dict[bytes, Device] = field(default_factory=dict)
    identities: set[bytes] = field(default_factory=set)

    def follow(self, entry: bytes) -> ChainEntry:
        """Takes the next entry after every check."""
        parsed = parse_entry(entry)
        self._check(parsed)
        try:
            require_signature(parsed, self._signer(parsed))
        except MalformedBytes:
            raise EntryRefused from None
        self._take(parsed, entry)
        return parsed

    def replay(self, entry: bytes) -> None:
        """Takes an entry that ``follow`` took before: the signature, which costs most, is not checked again."""
        parsed = parse_entry(entry)
        self._check(parsed)
        self._take(parsed, entry)

    def standing(self) -> frozenset[bytes]:
        """Ids of the devices that have not ended."""
        return frozenset(id_ for id_, device in self.devices.items() if device.ended_seq is None)

    def _check(self, entry: ChainEntry) -> None:
        if entry.seq != self.seq + 1 or entry.prev != self.head:
            raise NotNext
        payload = entry.payload
        if isinstance(payload, Genesis) != (entry.seq == 1):
            raise EntryRefused
        match payload:
            case Genesis():
                self._require_named(payload)
            case DeviceAdd():
                _require(payload.device_id not in self.devices)
            case DeviceRevoke() | DeviceRetire():
                self._standing(payload.device_id)
            case AccountKeyRotation():
                _require(payload.generation == self.generation + 1)
                _require(payload.vault_generation in (self.vault_generation, self.vault_generation + 1))
            case Reset():
                self._require_named(payload)
                _require(payload.generation == self.generation + 1)
                _require(payload.identity_public not in self.identities)
            case _:
                assert_never(payload)

    def _signer(self, entry: ChainEntry) -> bytes:
        match entry.payload:
            case Genesis(identity_public=public) | Reset(identity_public=public):
                return public
            case DeviceRetire(device_id=device_id):
                return self._standing(device_id).public
            case _:
                return self.identity_public

    def _take(self, entry: ChainEntry, raw: bytes) -> None:
        self.seq, self.head = entry.seq, entry_hash(raw)
        payload = entry.payload
        match payload:
            case Genesis():
                self._begin_identity(payload.identity_public, 1)
            case DeviceAdd():
                self.devices[payload.device_id] = Device(payload.device_public, entry.seq)
            case DeviceRevoke() | DeviceRetire():
                self._end(payload.device_id)
            case AccountKeyRotation():
                self.generation, self.vault_generation = payload.generation, payload.vault_generation
            case Reset():
                for device_id in self.standing():
                    self._end(device_id)
                self._begin_identity(payload.identity_public, payload.generation)
                self.vault_generation += 1
            case _:
                assert_never(payload)

    def _begin_identity(self, public: bytes, generation: int) -> None:
        self.identity_public, self.generation = public, generation
        self.identities.add(public)

    def _end(self, device_id: bytes) -> None:
        self.devices[device_id] = replace(self.devices[device_id], ended_seq=self.seq)

    def _standing(self, device_id: bytes) -> Device:
        device = self.devices.get(device_id)
        if device is None or device.ended_seq is not None:
            raise EntryRefused
        return device

    def _require_named(self, payload: Genesis | Reset) -> None:
        _require((payload.origin, payload.name) == (self.origin, self.name))


def _require(holds: bool) -> None:
    if not holds:
        raise EntryRefused
