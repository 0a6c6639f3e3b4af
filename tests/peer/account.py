"""A person's keys as a whole: made once, opened by a door, given to a new device."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from tests.peer import crypto
from tests.peer.crypto import Chain, Device, Door, DoorKey, Random, Refused, Sealing
from tests.peer.wire import DoorKind, VaultContent


@dataclass(frozen=True)
class Account:
    """Everything a signed-in client holds. ``version`` is the vault's on the server."""

    origin: str
    name: str
    identity_seed: bytes
    vault_key: bytes
    device: Device
    entries: tuple[bytes, ...]
    vault: VaultContent
    version: int = 1

    @property
    def chain(self) -> Chain:
        return crypto.verify_chain(self.entries, origin=self.origin, name=self.name)

    def door(self, key: DoorKey, *, sealing: Sealing = crypto.seal) -> Door:
        return crypto.seal_door(
            key, self.name, vault_key=self.vault_key, identity_seed=self.identity_seed, sealing=sealing
        )

    def vault_box(self, *, random: Random = secrets.token_bytes) -> bytes:
        return crypto.seal_vault(self.vault_key, self.name, self.version, self.vault, random=random)

    def with_doors(self, *keys: DoorKey) -> Account:
        """The next vault, in which these doors stand instead of those of their kind."""
        replaced: set[DoorKind] = {key.kind for key in keys}
        kept = tuple(door for door in self.vault.doors if door[0] not in replaced)
        doors = (*kept, *((key.kind, key.public) for key in keys))
        return self.with_vault(replace(self.vault, doors=doors, chain=self.chain.position))

    def with_vault(self, vault: VaultContent) -> Account:
        return replace(self, vault=vault, version=self.version + 1)


def create_account(
    *,
    origin: str,
    name: str,
    door_keys: tuple[DoorKey, DoorKey],
    now: int,
    random: Random = secrets.token_bytes,
) -> Account:
    identity_seed, account_seed, vault_key, device_seed = (random(32) for _ in range(4))
    device = Device(device_seed)
    account_public = crypto.xwing_public(account_seed)
    genesis = crypto.genesis_entry(
        identity_seed, origin=origin, name=name, account_public=account_public, at=now
    )
    begun = crypto.verify_chain([genesis], origin=origin, name=name)
    entry = crypto.device_entry(identity_seed, begun.position, device.public, at=now)
    vault = VaultContent(
        identity_public=begun.identity_public,
        account_seeds=(account_seed,),
        doors=tuple((key.kind, key.public) for key in door_keys),
        chain=crypto.extend_chain(begun, [entry]).position,
    )
    return Account(origin, name, identity_seed, vault_key, device, (genesis, entry), vault)


def unlock_account(
    *,
    origin: str,
    name: str,
    entries: tuple[bytes, ...],
    door: Door,
    door_key: DoorKey,
    version: int,
    box: bytes,
    now: int,
    random: Random = secrets.token_bytes,
) -> tuple[Account, bytes]:
    """Opens the door and checks what is behind it; a new device's account, and the entry that adds the device."""
    vault_key, identity_seed = crypto.open_door(door, name, door_key)
    vault = crypto.open_vault(vault_key, name, version, box)
    if crypto.public_of_seed(identity_seed) != vault.identity_public:
        raise Refused("vault_altered")
    if (door_key.kind, door_key.public) not in vault.doors:
        raise Refused("vault_altered")
    chain = crypto.verify_own_chain(
        entries, origin=origin, name=name, pinned_identity=vault.identity_public, pinned=vault.chain
    )
    since = chain.identities[-1][0]
    for seq, generation, public in chain.account_keys:
        seed = vault.account_keys.get(generation)
        if seq >= since and (seed is None or crypto.xwing_public(seed) != public):
            raise Refused("no_account_key")
    device = Device(random(32))
    entry = crypto.device_entry(identity_seed, chain.position, device.public, at=now)
    account = Account(origin, name, identity_seed, vault_key, device, (*entries, entry), vault, version)
    return account, entry
