"""Keys that change: an account key that grew old, keys anew after a revocation, and a fresh start without the old ones."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from accounts.errors import ChainRefused, MalformedRequest
from accounts.models import User
from accounts.services import key_chain, passwords, sessions, vaults
from accounts.services.key_chain import Growth
from accounts.wire import (
    AccountKeyRotation,
    DeviceAdd,
    DeviceRetire,
    DeviceRevoke,
    MalformedBytes,
    Payload,
    Reset,
    parse_entry,
)


@transaction.atomic
def grow_chain(
    *, user: User, session_key: str, entries: Sequence[bytes], vault: vaults.VaultBox | None
) -> Growth:
    """Another browser, one that retires, an account key anew; the vault comes with the key, and keeps its own.

    The session is the new browser's from now on; others of one that retired end.

    Raises ``MalformedRequest`` for a vault without a key or a key without a vault, ``KeysMissing``, ``ChainConflict``,
    ``ChainRefused``, ``VaultConflict``, ``KeysInvalid``.
    """
    User.objects.select_for_update().get(pk=user.pk)
    payloads = _payloads(entries)
    rotations = [payload for payload in payloads if isinstance(payload, AccountKeyRotation)]
    if len(rotations) != (0 if vault is None else 1):
        raise MalformedRequest
    if not all(isinstance(payload, DeviceAdd | DeviceRetire | AccountKeyRotation) for payload in payloads):
        raise ChainRefused
    growth = key_chain.append_entries(user=user, entries=entries)
    if growth.renewed_vault_key:
        raise ChainRefused  # The doors would lead to the old one.
    if vault is not None:
        vaults.replace_vault(user=user, vault=vault)
    sessions.bind_new(user=user, session_key=session_key, device=growth.added_device)
    if growth.ended:
        sessions.end_of_devices(user, growth.ended, but=session_key)
    return growth


@transaction.atomic
def renew_keys(
    *,
    user: User,
    session_key: str,
    auth_key: str,
    new_auth_key: str | None,
    entries: Sequence[bytes],
    doors: Sequence[vaults.DoorContent],
    vault: vaults.VaultBox,
) -> Growth:
    """Browsers end with their sessions; a new account key and a new vault key hold, and a new password if there is one.

    Other sessions that say they are this browser end too, and all others where no other browser stands. With a new password every session ends, and the caller signs its own in again, before the commit. Raises ``WrongPassword``, ``KeysMissing``, ``ChainConflict``, ``ChainRefused``, ``VaultConflict``, ``KeysInvalid``.
    """
    locked = User.objects.select_for_update().get(pk=user.pk)
    passwords.prove_again(user=locked, auth_key=auth_key)
    *revocations, rotation = _payloads(entries)
    is_renewal = isinstance(rotation, AccountKeyRotation)
    if not is_renewal or not all(isinstance(payload, DeviceRevoke) for payload in revocations):
        raise ChainRefused
    growth = key_chain.append_entries(user=locked, entries=entries)
    if not growth.renewed_vault_key:
        raise ChainRefused  # A browser that was sent away would still have the key of the vault.
    vaults.replace_vault(user=locked, vault=vault)
    vaults.replace_both_doors(user=locked, doors=doors)
    if new_auth_key is None:
        sessions.end_at_renewal(locked, growth.ended, but=session_key)
    else:
        passwords.set_auth_key(user=locked, auth_key=new_auth_key)
    user.refresh_from_db()
    return growth


@transaction.atomic
def start_fresh(
    *,
    user: User,
    auth_key: str,
    entries: Sequence[bytes],
    doors: Sequence[vaults.DoorContent],
    recovery_hash: bytes,
    vault: vaults.VaultBox,
) -> Growth:
    """A new identity for who can open the old one no more. Every session ends; the caller signs its own in again.

    Raises what ``renew_keys`` raises.
    """
    locked = User.objects.select_for_update().get(pk=user.pk)
    passwords.prove_again(user=locked, auth_key=auth_key)
    if [type(payload) for payload in _payloads(entries)] != [Reset, DeviceAdd]:
        raise ChainRefused
    growth = key_chain.append_entries(user=locked, entries=entries)
    vaults.replace_vault(user=locked, vault=vault)
    vaults.replace_both_doors(user=locked, doors=doors)
    vaults.set_recovery_hash(user=locked, recovery_hash=recovery_hash)
    sessions.end_all(locked)
    user.refresh_from_db()
    return growth


def _payloads(entries: Sequence[bytes]) -> list[Payload]:
    try:
        return [parse_entry(entry).payload for entry in entries]
    except MalformedBytes:
        raise ChainRefused from None
