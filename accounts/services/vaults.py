"""A person's vault, the doors to it, and the recovery code: stored and replaced as whole, sealed things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cbor2
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.errors import KeysExist, KeysInvalid, KeysMissing, VaultConflict
from accounts.models import Door, RecoveryCode, User, Vault
from accounts.services import key_chain
from accounts.services.key_chain import Growth
from securechat import sealed

DoorKind = Literal["password", "recovery"]
DOOR_KINDS: tuple[DoorKind, ...] = get_args(DoorKind)


@dataclass(frozen=True)
class DoorContent:
    """docs/protocol.md section 3."""

    kind: DoorKind
    public: bytes
    sealed_vault_key: bytes
    sealed_identity: bytes


@dataclass(frozen=True)
class VaultBox:
    version: int
    box: bytes


@dataclass(frozen=True)
class NewKeys:
    """What a browser makes for an account that has no keys."""

    chain: tuple[bytes, ...]
    doors: tuple[DoorContent, ...]
    recovery_hash: bytes
    vault: VaultBox


@dataclass(frozen=True)
class StoredKeys:
    username: str
    chain: list[bytes]
    doors: list[DoorContent]
    vault: VaultBox
    recovery_confirmed: bool


@transaction.atomic
def make_keys(*, user: User, keys: NewKeys) -> Growth:
    """Raises ``KeysExist``, ``KeysInvalid``."""
    User.objects.select_for_update().get(pk=user.pk)
    if key_chain.has_keys(user):
        raise KeysExist
    if keys.vault.version != 1 or len(keys.vault.box) > settings.MAX_VAULT_BYTES:
        raise KeysInvalid
    growth = key_chain.begin_chain(user=user, entries=keys.chain)
    Vault.objects.create(user=user, version=1, sealed_box=_sealed_box(user, keys.vault))
    replace_both_doors(user=user, doors=keys.doors)
    set_recovery_hash(user=user, recovery_hash=keys.recovery_hash)
    return growth


def keys_of(user: User) -> StoredKeys | None:
    """``None`` for somebody who has not made keys yet. Doors and vault belong together, whatever is written meanwhile."""
    vault = Vault.objects.filter(user=user).first()
    while vault is not None:
        stored = StoredKeys(
            username=user.username,
            chain=key_chain.entries_of(user),
            doors=doors_of(user),
            vault=VaultBox(vault.version, vault.box),
            recovery_confirmed=RecoveryCode.objects.filter(user=user, confirmed=True).exists(),
        )
        before, vault = vault, Vault.objects.filter(user=user).first()
        if vault is not None and vault.version == before.version:
            return stored
    return None


def vault_of(user: User) -> VaultBox:
    """Raises ``KeysMissing``."""
    vault = Vault.objects.filter(user=user).first()
    if vault is None:
        raise KeysMissing
    return VaultBox(vault.version, vault.box)


def replace_vault(*, user: User, vault: VaultBox) -> None:
    """Only by the very next version. Raises ``VaultConflict``, ``KeysMissing``, ``KeysInvalid``."""
    if len(vault.box) > settings.MAX_VAULT_BYTES:
        raise KeysInvalid
    is_next = Vault.objects.filter(user=user, version=vault.version - 1)
    if is_next.update(version=vault.version, sealed_box=_sealed_box(user, vault)):
        return
    raise VaultConflict if Vault.objects.filter(user=user).exists() else KeysMissing


def doors_of(user: User) -> list[DoorContent]:
    return [_open(door) for door in Door.objects.filter(user=user).order_by("kind")]


def replace_door(*, user: User, door: DoorContent, kind: DoorKind) -> None:
    """Raises ``KeysInvalid`` for a door of another kind than the act is about."""
    if door.kind != kind:
        raise KeysInvalid
    content = cbor2.dumps([door.public, door.sealed_vault_key, door.sealed_identity], canonical=True)
    sealed_content = sealed.seal(content, purpose=Door.purpose(user.pk, kind))
    Door.objects.update_or_create(user=user, kind=kind, defaults={"sealed_content": sealed_content})


def replace_both_doors(*, user: User, doors: Sequence[DoorContent]) -> None:
    """Raises ``KeysInvalid`` unless there is one of each kind."""
    if len(doors) != len(DOOR_KINDS) or {door.kind for door in doors} != set(DOOR_KINDS):
        raise KeysInvalid
    for door in doors:
        replace_door(user=user, door=door, kind=door.kind)


def remove_password_door(user: User) -> None:
    """For when somebody else set the password: the old one must not open anything any more."""
    Door.objects.filter(user=user, kind=Door.Kind.PASSWORD).delete()


def set_recovery_hash(*, user: User, recovery_hash: bytes) -> None:
    """The code before it is worth nothing from now on, and this one has not been typed back."""
    new = {"proof_hash": recovery_hash, "confirmed": False, "made_at": timezone.now()}
    RecoveryCode.objects.update_or_create(user=user, defaults=new)


def confirm_recovery_code(user: User) -> None:
    """Raises ``KeysMissing``."""
    if not RecoveryCode.objects.filter(user=user).update(confirmed=True):
        raise KeysMissing


def _open(door: Door) -> DoorContent:
    kind: DoorKind = "password" if door.kind == Door.Kind.PASSWORD else "recovery"
    public, sealed_vault_key, sealed_identity = cbor2.loads(door.content)
    return DoorContent(kind, public, sealed_vault_key, sealed_identity)


def _sealed_box(user: User, vault: VaultBox) -> bytes:
    return sealed.seal(vault.box, purpose=Vault.purpose(user.pk))
