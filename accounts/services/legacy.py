"""People of the first version, whose passwords are kept as ``sha256(password + salt)``."""

from __future__ import annotations

import re

from django.contrib.auth.hashers import get_hasher, make_password
from django.db import IntegrityError, transaction

from accounts.errors import UsernameTaken
from accounts.hashers import LegacyPasswordHasher, SecureChatPasswordHasher
from accounts.models import User
from accounts.services.passwords import require_usable_name
from accounts.stretching import client_salt_for

_SHA256_HEX = re.compile(r"[0-9a-f]{64}")
_LONGEST_SALT = 200  # Characters that the column holds.


def is_record(*, password_digest: str, old_salt: str) -> bool:
    """A SHA-256 in 64 lower-case hexadecimal digits, and a salt of 1 to 200 characters."""
    return _SHA256_HEX.fullmatch(password_digest) is not None and 0 < len(old_salt) <= _LONGEST_SALT


def prepare_person(*, username: str, password_digest: str, old_salt: str) -> User:
    """Not stored yet. The record goes behind Argon2id (a quarter of a second) and our own hash; the first log-in replaces it.

    Raises ``UsernameInvalid``, and ``ValueError`` for what is no record.
    """
    if not is_record(password_digest=password_digest, old_salt=old_salt):
        raise ValueError("A record of the first version is a salt and a SHA-256 in hexadecimal digits.")
    require_usable_name(username)
    client_salt = client_salt_for(username)
    hasher = get_hasher()
    assert isinstance(hasher, SecureChatPasswordHasher)
    auth_key = hasher.derive(name=username, password=password_digest, client_salt=client_salt)
    encoded = make_password(auth_key, hasher=LegacyPasswordHasher.algorithm)
    return User(username=username, client_salt=client_salt, legacy_salt=old_salt, password=encoded)


def store_person(user: User) -> None:
    """One that was prepared. Raises ``UsernameTaken``."""
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError:
        raise UsernameTaken from None


def import_person(*, username: str, password_digest: str, old_salt: str) -> User:
    """Raises ``UsernameInvalid``, ``UsernameTaken``, ``ValueError``."""
    user = prepare_person(username=username, password_digest=password_digest, old_salt=old_salt)
    store_person(user)
    return user
