"""A browser tab as far as the server can tell: its device signs, its writer counts, and what is encrypted is random."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from accounts.wire import HASH_BYTES, NO_HASH, H, label
from messaging import protocol
from messaging.wire import READ_BOX_BYTES, SEALED_BYTES, envelope_hash, epoch_record_hash
from tests.peer.crypto import new_client_id


@dataclass
class Tab:
    """One writer of one device in one conversation. ``send`` moves it on, as a browser does."""

    conversation: UUID
    key: Ed25519PrivateKey
    epoch: int = 1
    writer: bytes = field(default_factory=lambda: os.urandom(16))
    seq: int = 0
    prev: bytes = NO_HASH

    @property
    def device(self) -> bytes:
        return H("device", self.key.public_key().public_bytes_raw())[:16]

    def envelope(self, client_id: UUID, /, *, length: int = 100, **changes: Any) -> bytes:
        """The next one; ``changes`` replaces fields of the header by name."""
        fields: dict[str, object] = {
            "version": 1,
            "suite": 2,
            "conversation": self.conversation.bytes,
            "epoch": self.epoch,
            "epoch_hash": os.urandom(HASH_BYTES),
            "device": self.device,
            "client_id": client_id.bytes,
            "writer": self.writer,
            "seq": self.seq + 1,
            "prev": self.prev,
            "head_n": 0,
            "head_hash": os.urandom(HASH_BYTES),
            "own": [2, os.urandom(HASH_BYTES)],
            "peer": [2, os.urandom(HASH_BYTES)],
            "vault_version": 1,
            "commitment": os.urandom(HASH_BYTES),
        }
        assert changes.keys() <= fields.keys()
        header = encoded(list({**fields, **changes}.values()))
        return self._signed("envelope", [header, os.urandom(12), os.urandom(length)])

    def send(
        self, ref: int = 1, *, client_id: UUID | None = None, length: int = 100
    ) -> protocol.SendEnvelope:
        client_id = client_id or new_client_id(self.seq)
        envelope = self.envelope(client_id, length=length)
        self.seq, self.prev = self.seq + 1, envelope_hash(envelope)
        return self.frame(envelope, client_id, ref)

    def frame(self, envelope: bytes, client_id: UUID, ref: int = 1) -> protocol.SendEnvelope:
        return protocol.SendEnvelope(
            ref=ref, conversation=self.conversation, client_id=client_id, epoch=self.epoch, envelope=envelope
        )

    def record(self, number: int = 1, *, prev: bytes = NO_HASH, **changes: Any) -> bytes:
        member = [os.urandom(HASH_BYTES), 1, 2, os.urandom(HASH_BYTES)]
        fields: dict[str, object] = {
            "version": 1,
            "conversation": self.conversation.bytes,
            "epoch": number,
            "prev": prev,
            "member_0": member,
            "member_1": member,
            "secret_commitment": os.urandom(HASH_BYTES),
            "log_n": 0,
            "log_hash": os.urandom(HASH_BYTES),
            "device": self.device,
        }
        assert changes.keys() <= fields.keys()
        body = encoded(list({**fields, **changes}.values()))
        return self._signed("epoch", [body, os.urandom(SEALED_BYTES), os.urandom(SEALED_BYTES)])

    def append(self, number: int = 1, *, after: bytes | None = None, ref: int = 1) -> protocol.AppendEpoch:
        record = self.record(number, prev=epoch_record_hash(after) if after else NO_HASH)
        return protocol.AppendEpoch(ref=ref, conversation=self.conversation, epoch=number, record=record)

    def head(self, n: int, log_hash: bytes, **changes: object) -> bytes:
        fields: dict[str, object] = {
            "version": 1,
            "conversation": self.conversation.bytes,
            "n": n,
            "log_hash": log_hash,
            "vault_version": 1,
            "device": self.device,
            "epoch": 1,
            "read": os.urandom(READ_BOX_BYTES),
        }
        assert changes.keys() <= fields.keys()
        body = encoded(list({**fields, **changes}.values()))
        return encoded([body, self.key.sign(label("head") + body)])

    def set_head(self, n: int, log_hash: bytes, ref: int = 1) -> protocol.SetHead:
        return protocol.SetHead(ref=ref, conversation=self.conversation, head=self.head(n, log_hash))

    def _signed(self, what: str, parts: list[object]) -> bytes:
        return encoded([*parts, self.key.sign(label(what) + encoded(parts))])


def encoded(item: object) -> bytes:
    return cbor2.dumps(item, canonical=True)
