"""A person's keys as a whole: made once, opened by a door, given to a new device, renewed, begun anew."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tests.peer import crypto, wire
from tests.peer.crypto import Chain, Device, Door, DoorKey, DoorPublic, Random, Refused, Sealing
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
    vault_generation: int = 1
    """Of ``vault_key``; a chain that names a newer one asks for the password again."""

    @cached_property
    def chain(self) -> Chain:
        return crypto.verify_chain(self.entries, origin=self.origin, name=self.name)

    def door(self, key: DoorKey | DoorPublic, *, sealing: Sealing = crypto.seal) -> Door:
        return crypto.seal_door(
            key, self.name, vault_key=self.vault_key, identity_seed=self.identity_seed, sealing=sealing
        )

    def vault_box(self, *, random: Random = secrets.token_bytes) -> bytes:
        return crypto.seal_vault(self.vault_key, self.name, self.version, self.vault, random=random)

    def with_doors(self, *keys: DoorKey) -> Account:
        """The next vault, in which these doors stand instead of those of their kind."""
        replaced: set[DoorKind] = {key.kind for key in keys}
        kept = tuple(door for door in self.vault.doors if door[0] not in replaced)
        doors = (*kept, *_doors(keys, self.name, self.vault.identity_public))
        return self.with_vault(replace(self.vault, doors=doors, chain=self.chain.position))

    def with_vault(self, vault: VaultContent) -> Account:
        return replace(self, vault=vault, version=self.version + 1)

    def with_entry(self, payload: wire.Payload, *, now: int, seed: bytes | None = None) -> Account:
        """One more on the chain, signed by the identity or by ``seed``."""
        entry = crypto.next_entry(seed or self.identity_seed, self.chain.position, payload, at=now)
        return self.with_entries([entry])

    def with_entries(self, entries: Sequence[bytes]) -> Account:
        return replace(self, entries=(*self.entries, *entries))


def _doors(
    keys: Sequence[DoorKey], name: str, identity_public: bytes
) -> tuple[tuple[DoorKind, bytes, bytes], ...]:
    doors = [key.of(name, identity_public) for key in keys]
    return tuple((door.kind, door.public, door.tag) for door in doors)


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
        doors=_doors(door_keys, name, begun.identity_public),
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
    account = open_account(
        origin=origin,
        name=name,
        entries=entries,
        door=door,
        door_key=door_key,
        version=version,
        box=box,
        device=Device(random(32)),
    )
    added = account.with_entry(wire.DeviceAdd(account.device.public), now=now)
    return added, added.entries[-1]


def open_account(
    *,
    origin: str,
    name: str,
    entries: tuple[bytes, ...],
    door: Door,
    door_key: DoorKey,
    version: int,
    box: bytes,
    device: Device,
) -> Account:
    """Opens the door and checks what is behind it."""
    vault_key, identity_seed = crypto.open_door(door, name, door_key)
    vault = crypto.open_vault(vault_key, name, version, box)
    if crypto.public_of_seed(identity_seed) != vault.identity_public:
        raise Refused("vault_altered")
    if _doors([door_key], name, vault.identity_public)[0] not in vault.doors:
        raise Refused("vault_altered")
    chain = crypto.verify_own_chain(
        entries, origin=origin, name=name, pinned_identity=vault.identity_public, pinned=vault.chain
    )
    since = chain.identities[-1][0]
    for seq, generation, public in chain.account_keys:
        seed = vault.account_keys.get(generation)
        if seq >= since and (seed is None or crypto.xwing_public(seed) != public):
            raise Refused("no_account_key")
    return Account(
        origin, name, identity_seed, vault_key, device, entries, vault, version, chain.vault_generation
    )


def renew_account(
    before: Account,
    *,
    revoke: Sequence[bytes],
    new_password: DoorKey | None,
    now: int,
    random: Random = secrets.token_bytes,
) -> tuple[Account, list[Door]]:
    """Signs these devices out; a new account key, a new vault key, and both doors to it."""
    account = before
    for device in revoke:
        account = account.with_entry(wire.DeviceRevoke(device), now=now)
    vault_generation = account.chain.vault_generation + 1
    account = with_next_account_key(account, vault_generation=vault_generation, now=now, random=random)
    keys = [DoorPublic(*door) for door in account.vault.doors]
    if new_password is not None:
        keys = [key for key in keys if key.kind != "password"]
        keys.append(new_password.of(account.name, account.vault.identity_public))
    doors = tuple((key.kind, key.public, key.tag) for key in keys)
    renewed = replace(
        account,
        vault_key=random(32),
        vault_generation=vault_generation,
        vault=replace(account.vault, doors=doors, chain=account.chain.position),
        version=before.version + 1,
    )
    return renewed, [renewed.door(key) for key in keys]


def with_next_account_key(
    account: Account, *, vault_generation: int, now: int, random: Random = secrets.token_bytes
) -> Account:
    """On the chain and in the vault, whose version and position are still those from before."""
    seed = random(32)
    rotation = wire.AccountKeyRotation(
        account.chain.generation + 1, crypto.xwing_public(seed), vault_generation
    )
    vault = replace(account.vault, account_seeds=(*account.vault.account_seeds, seed))
    return replace(account.with_entry(rotation, now=now), vault=vault)


def reset_account(
    *,
    origin: str,
    name: str,
    entries: tuple[bytes, ...],
    version: int,
    door_keys: tuple[DoorKey, DoorKey],
    now: int,
    random: Random = secrets.token_bytes,
) -> Account:
    """A new identity at the end of a chain whose keys are lost. Its last two entries are new."""
    lost = crypto.verify_chain(entries, origin=origin, name=name)
    identity_seed, account_seed, vault_key, device_seed = (random(32) for _ in range(4))
    device, generation = Device(device_seed), lost.generation + 1
    identity_public = crypto.public_of_seed(identity_seed)
    vault = VaultContent(
        identity_public=identity_public,
        account_seeds=(account_seed,),
        doors=_doors(door_keys, name, identity_public),
        chain=lost.position,
        first_generation=generation,
    )
    account = Account(
        origin,
        name,
        identity_seed,
        vault_key,
        device,
        entries,
        vault,
        version + 1,
        lost.vault_generation + 1,
    )
    reset = wire.Reset(origin, name, identity_public, crypto.xwing_public(account_seed), generation)
    account = account.with_entry(reset, now=now).with_entry(wire.DeviceAdd(device.public), now=now)
    return replace(account, vault=replace(vault, chain=account.chain.position))
