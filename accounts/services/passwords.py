"""Signing up, proving a password, changing it. What arrives here was derived by a browser (``ak1:…``)."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts.errors import (
    UsernameInvalid,
    UsernameTaken,
    WrongCredentials,
    WrongPassword,
)
from accounts.models import User
from accounts.models.user import spend_a_check
from accounts.services import invites, key_chain, sessions, vaults
from accounts.services.key_chain import Growth
from accounts.stretching import client_salt_for
from accounts.validators import validate_username
from accounts.wire import is_auth_key


@dataclass(frozen=True)
class LogInParameters:
    client_salt: bytes
    legacy_salt: str | None


def log_in_parameters(username: str) -> LogInParameters:
    """What a browser needs to derive the key of that name. A name that nobody has gets an answer of the same form."""
    unknown = LogInParameters(client_salt_for(username), None)
    user = User.objects.by_name(username)
    if user is None:
        return unknown
    return LogInParameters(bytes(user.client_salt), user.legacy_salt if user.is_legacy else None)


def require_usable_name(username: str) -> None:
    """Raises ``UsernameInvalid`` with a message for each broken rule, ``UsernameTaken``."""
    try:
        validate_username(username)
    except ValidationError as broken:
        raise UsernameInvalid({"username": broken.messages}) from None


def sign_up(
    *, username: str, auth_key: str, keys: vaults.NewKeys, invite: str | None = None
) -> tuple[User, Growth]:
    """Raises ``UsernameInvalid``, ``UsernameTaken`` (also for who lost a race), ``KeysInvalid``.

    And ``SignUpClosed`` or ``InviteRefused``, where ``SIGN_UP`` asks for an invite: the name is looked at first, so that who
    sends the same again after a lost answer is told that they have it.
    """
    require_usable_name(username)
    with transaction.atomic():
        user = _create_person(username, auth_key)
        invites.require_may_sign_up(invite)
        growth = vaults.make_keys(user=user, keys=keys)
    return user, growth


def _create_person(username: str, auth_key: str) -> User:
    user = User(username=username, client_salt=client_salt_for(username))
    user.set_auth_key(auth_key)
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError:
        raise UsernameTaken from None
    return user


def prove(*, username: str, auth_key: str) -> User:
    """The active person whose password it is. One hash is computed whoever was asked for; raises ``WrongCredentials``."""
    user = User.objects.by_name(username)
    if user is None or not is_auth_key(auth_key):
        spend_a_check()
        raise WrongCredentials
    if not user.check_auth_key(auth_key):
        raise WrongCredentials
    return user


def prove_again(*, user: User, auth_key: str) -> None:
    """Raises ``WrongPassword``."""
    if not user.check_auth_key(auth_key):
        raise WrongPassword


@transaction.atomic
def upgrade_legacy(*, user: User, new_auth_key: str) -> None:
    """From the first version's record to a key of its own. The second of two log-ins at once changes nothing."""
    locked = User.objects.select_for_update().get(pk=user.pk)
    if locked.is_legacy:
        set_auth_key(user=locked, auth_key=new_auth_key)
    user.refresh_from_db()


@transaction.atomic
def change_password(
    *, user: User, auth_key: str, new_auth_key: str, door: vaults.DoorContent, vault: vaults.VaultBox
) -> None:
    """Every session ends; the caller signs its own in again, before the commit.

    Raises ``WrongPassword``, ``KeysMissing``, ``VaultConflict``, ``KeysInvalid``.
    """
    locked = User.objects.select_for_update().get(pk=user.pk)
    prove_again(user=locked, auth_key=auth_key)
    vaults.replace_vault(user=locked, vault=vault)
    vaults.replace_door(user=locked, door=door, kind="password")
    set_auth_key(user=locked, auth_key=new_auth_key)
    user.refresh_from_db()


def set_auth_key(*, user: User, auth_key: str) -> None:
    """Stores it and ends this person's sessions."""
    user.set_auth_key(auth_key)
    user.save(update_fields=["password", "legacy_salt", "session_stamp"])
    sessions.end_all(user)


@transaction.atomic
def set_plain_password(*, user: User, password: str) -> bool:
    """From the command line. Whether the person has keys, which from now on only the recovery code opens."""
    user.set_password(password)
    user.save(update_fields=["password", "legacy_salt", "session_stamp", "client_salt"])
    vaults.remove_password_door(user)
    sessions.end_all(user)
    return key_chain.has_keys(user)
