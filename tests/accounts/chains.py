"""A key chain in the making: each call signs the entry that comes next, and the server's copy is another thing."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from accounts.models import User
from accounts.services import key_chain
from accounts.wire import entry_hash
from tests.factories import Identity, raw_public


@dataclass
class Draft:
    """What a browser signs on top of ``entries``; ``stored`` of them the server had when it began."""

    identity: Identity
    entries: list[bytes]
    generation: int = 1
    vault_generation: int = 1
    stored: int = field(init=False)

    def __post_init__(self) -> None:
        self.stored = len(self.entries)

    @classmethod
    def of(cls, user: User, identity: Identity, *, generation: int = 1, vault_generation: int = 1) -> Draft:
        return cls(identity, key_chain.entries_of(user), generation, vault_generation)

    @property
    def new(self) -> list[bytes]:
        return self.entries[self.stored :]

    def add(self, device: Ed25519PrivateKey | None = None) -> Draft:
        key = device or Ed25519PrivateKey.generate()
        return self._then(self.identity.device_add(before=self._last, seq=self._seq, device=raw_public(key)))

    def revoke(self, device_id: bytes) -> Draft:
        entry = self.identity.device_revoke(before=self._last, seq=self._seq, device_id=device_id)
        return self._then(entry)

    def retire(self, device: Ed25519PrivateKey) -> Draft:
        return self._then(self.identity.device_retire(before=self._last, seq=self._seq, device=device))

    def rotate(self, *, vault_generation: int | None = None) -> Draft:
        self.generation += 1
        self.vault_generation = vault_generation or self.vault_generation
        entry = self.identity.ak_rotate(
            before=self._last,
            seq=self._seq,
            generation=self.generation,
            vault_generation=self.vault_generation,
        )
        return self._then(entry)

    def renew(self) -> Draft:
        """A new account key with a new vault key."""
        return self.rotate(vault_generation=self.vault_generation + 1)

    def reset(self, identity: Identity) -> Draft:
        """From here on the new identity signs."""
        self.identity = identity
        self.generation, self.vault_generation = self.generation + 1, self.vault_generation + 1
        return self._then(identity.reset(before=self._last, seq=self._seq, generation=self.generation))

    def say(self, kind: str, payload: list[object], *, key: Ed25519PrivateKey | None = None) -> Draft:
        """Anything."""
        prev = entry_hash(self._last)
        return self._then(self.identity.entry(seq=self._seq, prev=prev, kind=kind, payload=payload, key=key))

    @property
    def _last(self) -> bytes:
        return self.entries[-1]

    @property
    def _seq(self) -> int:
        return len(self.entries) + 1

    def _then(self, entry: bytes) -> Draft:
        self.entries.append(entry)
        return self
