"""How what the browser derived from a password is stored.

The browser has paid for Argon2id already and sends 32 random-looking bytes, so one HMAC is enough here: keyed with a
pepper that is not in the database and salted for each person. A flood of log-ins is not a flood of Argon2.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any

from django.contrib.auth.hashers import BasePasswordHasher
from django.utils.crypto import constant_time_compare

from accounts.stretching import BROWSER_COST, Cost, derive_auth_key
from accounts.wire import encode_base64url, is_auth_key, label
from securechat import sealed

_SALT_BYTES = 16


class SecureChatPasswordHasher(BasePasswordHasher):
    """``securechat1$<pepper id>$<salt>$<hash>``, at most 90 characters.

    ``encode`` and ``verify`` take what the browser sends (``ak1:…``) and nothing else. ``derive`` is the way
    from a plain password to that, for `manage.py` and tests; ``cost`` is of it alone.
    """

    algorithm = "securechat1"
    cost: Cost = BROWSER_COST

    def derive(self, *, name: str, password: str, client_salt: bytes) -> str:
        return derive_auth_key(name=name, password=password, client_salt=client_salt, cost=self.cost)

    def salt(self) -> str:
        return encode_base64url(secrets.token_bytes(_SALT_BYTES))

    def encode(self, password: str, salt: str) -> str:
        return self._encode_with(sealed.key_ring().newest("pepper"), password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        decoded = self.decode(encoded)
        pepper = sealed.key_ring().by_id("pepper", decoded["pepper_id"])
        if pepper is None or not is_auth_key(password):
            return False
        return constant_time_compare(self._encode_with(pepper, password, decoded["salt"]), encoded)

    def decode(self, encoded: str) -> dict[str, Any]:
        algorithm, pepper_id, salt, hash_ = encoded.split("$")
        assert algorithm == self.algorithm
        return {"algorithm": algorithm, "pepper_id": int(pepper_id), "salt": salt, "hash": hash_}

    def must_update(self, encoded: str) -> bool:
        """After the pepper rotated, at the next log-in."""
        return bool(self.decode(encoded)["pepper_id"] != sealed.key_ring().newest("pepper").id)

    def harden_runtime(self, password: str, encoded: str) -> None:
        """Nothing to even out: every hash costs one HMAC."""

    def safe_summary(self, encoded: str) -> Any:
        decoded = self.decode(encoded)
        return {"algorithm": decoded["algorithm"], "pepper": decoded["pepper_id"]}

    def _encode_with(self, pepper: sealed.Key, password: str, salt: str) -> str:
        if not is_auth_key(password):
            raise ValueError("Only what a browser derives from a password can be hashed.")
        message = label("password-hash") + salt.encode() + b"\0" + password.encode()
        hash_ = encode_base64url(hmac.new(pepper.secret, message, hashlib.sha256).digest())
        return f"{self.algorithm}${pepper.id}${salt}${hash_}"


class LegacyPasswordHasher(SecureChatPasswordHasher):
    """The same over what is derived from a record of the first version, ``sha256(password + old salt)``.

    The old salt is in ``User.legacy_salt``: the browser needs it, the hasher does not. It is never upgraded by itself:
    only the browser, which knows the password, can derive the new key; see ``accounts.services.log_in``.
    """

    algorithm = "securechat0"

    def must_update(self, encoded: str) -> bool:
        return False
