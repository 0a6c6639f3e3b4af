"""What the running server can read and a stolen database cannot: Fernet, seals and blind indexes.

All keys come from one key file (``KEYS_FILE``, mode 0600) or from ``SECURECHAT_KEYS`` in the environment, as JSON:

    {"fernet": [...], "blind_index": [...], "seal": [...], "pepper": [...], "client_salt": [...]}

Each list holds ``{"id": 1, "key": "<32 bytes, base64url>"}``; the key with the highest id is the newest and is used for
what is written, the others only read. Keys are never in the database and never in a log.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal, get_args

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

Purpose = Literal["fernet", "blind_index", "seal", "pepper", "client_salt"]
RotatingPurpose = Literal["fernet", "blind_index", "seal", "pepper"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
PADDED_NAME_BYTES = 32
_NONCE_BYTES = 12


class KeysMissing(Exception):
    """There is no key file and no ``SECURECHAT_KEYS``. A server with rows must never make new keys by itself."""


class KeysInvalid(Exception):
    """The key file does not have the form that this module's docstring gives."""


class SealBroken(Exception):
    """The sealed bytes are not what this server's keys sealed for that purpose."""


@dataclass(frozen=True)
class Key:
    id: int
    secret: bytes


@dataclass(frozen=True)
class KeyRing:
    """The server's keys by purpose, newest first."""

    keys: dict[Purpose, tuple[Key, ...]]

    def newest(self, purpose: Purpose) -> Key:
        return self.keys[purpose][0]

    @cached_property
    def fernet(self) -> MultiFernet:
        return MultiFernet([Fernet(base64.urlsafe_b64encode(key.secret)) for key in self.keys["fernet"]])

    def by_id(self, purpose: Purpose, key_id: int) -> Key | None:
        return next((key for key in self.keys[purpose] if key.id == key_id), None)


_tried: ContextVar[KeyRing | None] = ContextVar("tried", default=None)


@contextmanager
def trying(ring: KeyRing) -> Iterator[None]:
    """These keys in place of this process's own, to see what they open."""
    token = _tried.set(ring)
    try:
        yield
    finally:
        _tried.reset(token)


def key_ring() -> KeyRing:
    """The keys of this process; a key file that was replaced is read again. Raises ``KeysMissing`` or ``KeysInvalid``."""
    if (tried := _tried.get()) is not None:
        return tried
    if settings.SECURECHAT_KEYS:
        return _ring_of_text(settings.SECURECHAT_KEYS)
    path = settings.KEYS_FILE
    try:
        stat = os.stat(path)  # For each name and index: pathlib would take as long again.
        return _ring_of_file(path, (stat.st_mtime_ns, stat.st_ino, stat.st_size))
    except FileNotFoundError:
        raise KeysMissing(f"There is no key file at {path}. Restore it from your backup.") from None


@lru_cache(maxsize=1)
def _ring_of_text(text: str) -> KeyRing:
    return parse_keys(text)


@lru_cache(maxsize=1)
def _ring_of_file(path: str, stamp: tuple[int, int, int]) -> KeyRing:
    return parse_keys(Path(path).read_text(encoding="ascii"))


def parse_keys(text: str) -> KeyRing:
    try:
        stored = json.loads(text)
        keys = {purpose: _parse_purpose(stored[purpose]) for purpose in PURPOSES}
    except (ValueError, KeyError, TypeError):
        raise KeysInvalid("The key file is damaged or of another version.") from None
    return KeyRing(keys)


def _parse_purpose(stored: list[dict[str, object]]) -> tuple[Key, ...]:
    keys = [Key(int(str(item["id"])), base64.urlsafe_b64decode(str(item["key"]))) for item in stored]
    if not keys or any(len(key.secret) != 32 for key in keys) or len({key.id for key in keys}) != len(keys):
        raise ValueError
    return tuple(sorted(keys, key=lambda key: key.id, reverse=True))


def new_key(key_id: int) -> Key:
    return Key(key_id, secrets.token_bytes(32))


def new_key_ring() -> KeyRing:
    return KeyRing({purpose: (new_key(1),) for purpose in PURPOSES})


def stored_form(ring: KeyRing) -> dict[str, list[dict[str, object]]]:
    """What a key file holds, as ``parse_keys`` reads it."""
    return {
        purpose: [
            {"id": key.id, "key": base64.urlsafe_b64encode(key.secret).decode()} for key in reversed(keys)
        ]
        for purpose, keys in ring.keys.items()
    }


def write_key_file(ring: KeyRing, path: Path) -> None:
    """Replaces the file in one step, so that a crash leaves the old keys or the new ones and never half of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(stored_form(ring), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def encrypt_name(name: str) -> str:
    """Fernet over the name padded to 32 bytes, so that the token does not show the name's length."""
    raw = name.encode()
    if len(raw) >= PADDED_NAME_BYTES:
        raise ValueError("A name is at most 31 bytes.")
    return key_ring().fernet.encrypt(raw.ljust(PADDED_NAME_BYTES, b"\0")).decode()


def decrypt_name(token: str) -> str:
    """Raises ``SealBroken`` for a token of other keys."""
    try:
        return key_ring().fernet.decrypt(token.encode()).rstrip(b"\0").decode()
    except (InvalidToken, UnicodeDecodeError):
        raise SealBroken from None


def rotate_name(token: str) -> str:
    """The same name under the newest Fernet key."""
    return encrypt_name(decrypt_name(token))


def is_name_by_newest(token: str) -> bool:
    """Whether the newest Fernet key alone opens it; Fernet tokens do not say which key made them."""
    key = key_ring().newest("fernet")
    try:
        Fernet(base64.urlsafe_b64encode(key.secret)).decrypt(token.encode())
    except InvalidToken:
        return False
    return True


def blind_index(what: str, *parts: Sequence[object] | object) -> bytes:
    """32 bytes that are equal for equal input and say nothing without the key: to look up what is stored sealed."""
    return _index_with(key_ring().newest("blind_index"), what, *parts)


def blind_indexes(what: str, *parts: Sequence[object] | object) -> list[bytes]:
    """``blind_index`` under every key, newest first: what to look for while rows under an older key may exist."""
    return [_index_with(key, what, *parts) for key in key_ring().keys["blind_index"]]


def _index_with(key: Key, what: str, *parts: object) -> bytes:
    message = json.dumps([what, *parts], separators=(",", ":")).encode()
    return hmac.new(key.secret, b"securechat/blind-index\0" + message, hashlib.sha256).digest()


def seal(plaintext: bytes, *, purpose: str) -> bytes:
    """AES-256-GCM at rest: key id (4 bytes) ‖ nonce ‖ ciphertext; ``purpose`` is bound, so bytes cannot move."""
    key = key_ring().newest("seal")
    nonce = os.urandom(_NONCE_BYTES)
    return key.id.to_bytes(4, "big") + nonce + AESGCM(key.secret).encrypt(nonce, plaintext, purpose.encode())


def unseal(sealed: bytes, *, purpose: str) -> bytes:
    """Raises ``SealBroken`` when the bytes were changed, moved, or sealed by a key that is gone."""
    raw = bytes(sealed)
    key = key_ring().by_id("seal", int.from_bytes(raw[:4], "big"))
    if key is None:
        raise SealBroken
    nonce, ciphertext = raw[4 : 4 + _NONCE_BYTES], raw[4 + _NONCE_BYTES :]
    try:
        return AESGCM(key.secret).decrypt(nonce, ciphertext, purpose.encode())
    except (InvalidTag, ValueError):
        raise SealBroken from None


def is_sealed_by_newest(sealed: bytes) -> bool:
    return int.from_bytes(bytes(sealed)[:4], "big") == key_ring().newest("seal").id
