"""One conversation as a client knows it: both chains, the epochs, the log, every writer, every message. All checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from tests.peer import crypto, wire
from tests.peer.crypto import Chain, Chains, Epoch, LogPosition, Refused, Writer, WriterEnd
from tests.peer.wire import Pin, Side, VaultContent


@dataclass(frozen=True)
class Message:
    """A message that passed every check. Times are milliseconds since 1970, ``sent_at`` by the sender's clock."""

    n: int
    mine: bool
    text: str
    sent_at: int
    stored_at: int
    client_id: UUID
    hash: bytes
    is_lost: bool = False
    """Genuine, and sealed to keys that were lost with a reset; ``text`` is empty, ``sent_at`` 0."""


@dataclass(frozen=True)
class Row:
    n: int
    side: Side
    client_id: UUID
    envelope: bytes
    stored_at: int


@dataclass
class Conversation:
    id: UUID
    side: Side
    peer: str
    """Folded."""
    own_chain: Chain
    peer_chain: Chain
    account_keys: dict[int, bytes]
    writer: Writer = field(default_factory=crypto.new_writer)
    epochs: dict[int, Epoch] = field(default_factory=dict)
    hashes: list[bytes] = field(default_factory=list)
    """Log hashes; that of ``n`` is at ``n``."""
    writers: dict[bytes, WriterEnd] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    trusted: LogPosition | None = None
    """What was checked in an earlier run, and must come out again."""
    own_vault_version: int = 0
    """The newest that one's own messages name."""
    signed_n: int = 0
    """Of one's own newest head in this run."""
    identity_changes: list[int] = field(default_factory=list)
    """Entries of the peer's chain at which another identity was let pass, in this run."""

    def __post_init__(self) -> None:
        self.hashes = [crypto.log_start(self.id.bytes).hash]

    @property
    def chains(self) -> Chains:
        mine, theirs = self.own_chain, self.peer_chain
        return (mine, theirs) if self.side == 0 else (theirs, mine)

    @property
    def log(self) -> LogPosition:
        return LogPosition(len(self.hashes) - 1, self.hashes[-1])

    @property
    def newest_epoch(self) -> Epoch | None:
        return self.epochs[max(self.epochs)] if self.epochs else None

    def known_hash(self, n: int) -> bytes | None:
        return self.hashes[n] if n < len(self.hashes) else None

    def take_epochs(self, records: Iterable[bytes]) -> None:
        for record in records:
            previous = self.newest_epoch
            epoch = crypto.open_epoch(
                record,
                conversation=self.id.bytes,
                previous=previous,
                side=self.side,
                chains=self.chains,
                account_keys=self.account_keys,
                known_hash=self.known_hash,
            )
            self.epochs[epoch.epoch] = epoch

    def take_row(self, row: Row) -> Message:
        """The next row of the log. Nothing changes when a check refuses it."""
        if row.n != self.log.n + 1:
            raise Refused("log_mismatch")
        header, content = self._open(row)
        hash_of_envelope = crypto.envelope_hash(row.envelope)
        after = crypto.log_next(self.log, hash_of_envelope)
        if self.trusted is not None and self.trusted.n == row.n:
            crypto.check_log_hash(after, self.trusted.hash)
        self.writers = crypto.advance_writers(self.writers, header, hash_of_envelope)
        self.hashes.append(after.hash)
        mine = row.side == self.side
        if mine:
            self.own_vault_version = max(self.own_vault_version, header.vault_version)
        message = Message(
            n=row.n,
            mine=mine,
            text=content.text if content else "",
            sent_at=content.sent_at if content else 0,
            stored_at=row.stored_at,
            client_id=row.client_id,
            hash=hash_of_envelope,
            is_lost=content is None,
        )
        self.messages.append(message)
        return message

    def _open(self, row: Row) -> tuple[wire.EnvelopeHeader, wire.Content | None]:
        """No content for a genuine one that this account cannot read any more."""
        try:
            opened = crypto.open_envelope(
                row.envelope,
                conversation=self.id.bytes,
                side=row.side,
                client_id=row.client_id.bytes,
                epochs=self.epochs,
                chains=self.chains,
                n=row.n,
                known_hash=self.known_hash,
            )
        except Refused as refusal:
            if refusal.code != "history_lost":
                raise
            return wire.decode_envelope(row.envelope).header, None
        return opened.header, opened.content

    def pin_of_now(self, *, verified_at: int) -> Pin:
        """``verified_at`` is 0 for who was not compared."""
        chain = self.peer_chain
        return Pin(
            conversation=self.id.bytes,
            identity_public=chain.identity_public,
            fingerprint=chain.fingerprint,
            verified_at=verified_at,
            position=chain.position,
        )

    def with_pin_moved(self, vault: VaultContent) -> VaultContent:
        """Along the chain; to another identity only where the one before was never compared."""
        chain = self.peer_chain
        pin = next((one for one in vault.pins if one.conversation == self.id.bytes), None)
        if pin is None:
            return vault.with_pin(self.pin_of_now(verified_at=0))
        if pin.position.seq >= chain.position.seq:
            return vault
        if pin.identity_public == chain.identity_public:
            return vault.with_pin(self.pin_of_now(verified_at=pin.verified_at))
        if pin.verified_at:
            return vault
        changed_at = chain.identities[-1][0]
        if changed_at not in self.identity_changes:
            self.identity_changes.append(changed_at)
        return vault.with_pin(self.pin_of_now(verified_at=0))

    def checked_head(self, head: bytes) -> tuple[int, int | None]:
        """How far the friend's device says it has checked, and read, if it agrees with this log."""
        peer: Side = 1 if self.side == 0 else 0
        opened = crypto.open_head(
            head, conversation=self.id.bytes, chain=self.peer_chain, side=peer, epochs=self.epochs
        )
        body = opened.body
        crypto.check_log_hash(LogPosition(body.n, body.hash), self.known_hash(body.n))
        return body.n, opened.read_n
