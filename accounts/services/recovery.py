"""Getting back in with the recovery code, and making a new one. Each code works once."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.utils.crypto import constant_time_compare

from accounts.errors import ChainRefused, KeysInvalid, WrongRecoveryCode
from accounts.models import RecoveryCode, User
from accounts.services import key_chain, passwords, sanctions, vaults
from accounts.services.key_chain import Growth

_NOBODYS_HASH = secrets.token_bytes(32)


@dataclass(frozen=True)
class RecoveryBegun:
    client_salt: bytes
    chain: list[bytes]
    door: vaults.DoorContent
    vault: vaults.VaultBox


def begin_recovery(*, username: str, proof: bytes) -> RecoveryBegun:
    """What the code opens. Changes nothing, so a browser may ask again. Raises ``WrongRecoveryCode``."""
    user = _prove(username, proof)
    sanctions.require_let_in(user)
    stored = vaults.keys_of(user)
    door = next((one for one in stored.doors if one.kind == "recovery"), None) if stored is not None else None
    if stored is None or door is None:
        raise WrongRecoveryCode
    return RecoveryBegun(bytes(user.client_salt), stored.chain, door, stored.vault)


@transaction.atomic
def finish_recovery(
    *,
    username: str,
    proof: bytes,
    new_auth_key: str,
    doors: Sequence[vaults.DoorContent],
    recovery_hash: bytes,
    vault: vaults.VaultBox,
    entry: bytes,
) -> tuple[User, Growth]:
    """A new password, a new code and a browser more; every session ends.

    Raises ``WrongRecoveryCode`` (also for who lost a race with the same code), ``VaultConflict``, ``ChainConflict``,
    ``ChainRefused``, ``KeysInvalid``.
    """
    user = _prove(username, proof, lock=True)
    sanctions.require_let_in(user)
    if recovery_hash == hashlib.sha256(proof).digest():
        raise KeysInvalid  # The code that was used just now is not a new one.
    vaults.replace_vault(user=user, vault=vault)
    vaults.replace_both_doors(user=user, doors=doors)
    vaults.set_recovery_hash(user=user, recovery_hash=recovery_hash)
    growth = key_chain.append_entries(user=user, entries=[entry])
    if not growth.added:
        raise ChainRefused
    passwords.set_auth_key(user=user, auth_key=new_auth_key)
    return user, growth


@transaction.atomic
def replace_recovery_code(
    *, user: User, auth_key: str, door: vaults.DoorContent, recovery_hash: bytes, vault: vaults.VaultBox
) -> None:
    """Raises ``WrongPassword``, ``KeysMissing``, ``VaultConflict``, ``KeysInvalid``."""
    locked = User.objects.select_for_update().get(pk=user.pk)
    passwords.prove_again(user=locked, auth_key=auth_key)
    vaults.replace_vault(user=locked, vault=vault)
    vaults.replace_door(user=locked, door=door, kind="recovery")
    vaults.set_recovery_hash(user=locked, recovery_hash=recovery_hash)


def _prove(username: str, proof: bytes, *, lock: bool = False) -> User:
    user = User.objects.by_name(username)
    if user is not None and lock:
        user = User.objects.select_for_update().get(pk=user.pk)
    code = RecoveryCode.objects.filter(user_id=user.pk if user else 0).first()
    expected = bytes(code.proof_hash) if code else _NOBODYS_HASH
    is_right = constant_time_compare(hashlib.sha256(proof).hexdigest(), expected.hex())
    if user is None or code is None or not is_right:
        raise WrongRecoveryCode
    return user
