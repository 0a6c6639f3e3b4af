"""From a password to what is sent, exactly as the browser does it. docs/protocol.md section 2.

Only `manage.py` and tests need it: over HTTP the password never arrives.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from dataclasses import dataclass

import cbor2
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from accounts.names import fold
from accounts.wire import AUTH_KEY_PREFIX, H, encode_base64url, label
from securechat import sealed

CLIENT_SALT_BYTES = 32


@dataclass(frozen=True)
class Cost:
    """Of one Argon2id. ``memory`` is KiB, ``passes`` iterations. The defaults are fixed in the browser, too."""

    memory: int = 65_536
    passes: int = 3
    lanes: int = 1


BROWSER_COST = Cost()


def client_salt_for(name: str) -> bytes:
    """For real and unknown names by the same computation; who signs up keeps theirs when the key rotates."""
    key = sealed.key_ring().newest("client_salt")
    return hmac.new(key.secret, label("client-salt") + fold(name).encode(), hashlib.sha256).digest()


def derive_auth_key(*, name: str, password: str, client_salt: bytes, cost: Cost = BROWSER_COST) -> str:
    """47 characters. Takes a quarter of a second and 64 MiB at the browser's cost."""
    salt = H("salt", cbor2.dumps([settings.PUBLIC_ORIGIN, fold(name), client_salt], canonical=True))
    normal = unicodedata.normalize("NFKC", password).encode()
    stretched = _argon2id(salt, cost).derive(normal)
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=label("auth"))
    return AUTH_KEY_PREFIX + encode_base64url(hkdf.derive(stretched))


def _argon2id(salt: bytes, cost: Cost) -> Argon2id:
    return Argon2id(salt=salt, length=32, iterations=cost.passes, lanes=cost.lanes, memory_cost=cost.memory)
