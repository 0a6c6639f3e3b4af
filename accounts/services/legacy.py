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


def import_person(*, username: str, password_digest: str, old_salt: str) -> User:
    """Stores the record behind Argon2id and our own hash; the first log-in replaces it.

    ``password_digest`` is 64 lower-case hexadecimal digits. Raises ``UsernameInvalid``, ``UsernameTaken``, ``ValueError``.
    """
    if not _SHA256_HEX.fullmatch(password_digest) or not old_salt:
        raise ValueError("A record of the first version is a salt and a SHA-256 in hexadecimal digits.")
    require_usable_name(username)
    client_salt = client_salt_for(username)
    hasher = get_hasher()
    assert isinstance(hasher, SecureChatPasswordHasher)
    auth_key = hasher.derive(name=username, password=password_digest, client_salt=client_salt)
    encoded = make_password(auth_key, hasher=LegacyPasswordHasher.algorithm)
    user = User(username=username, client_salt=client_salt, legacy_salt=old_salt, password=encoded)
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError:
        raise UsernameTaken from None
    return user
