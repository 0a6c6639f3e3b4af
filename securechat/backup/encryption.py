"""A file that only its key opens, and only whole, in order and unchanged.

The payload is cut into chunks of 64 KiB, each ChaCha20-Poly1305 under a nonce of an 11-byte counter and a byte that says
whether it is the last: the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: "Online Authenticated-Encryption and
its Nonce-Reuse Misuse-Resistance", CRYPTO 2015), as the file format age v1 uses it. So a chunk that was changed, moved,
repeated or left out does not open, and neither does an end that was cut off.

    file    = header ‖ chunk_0 ‖ chunk_1 ‖ …
    header  = "securechat-backup/1\\n" ‖ kind ("k": key file, "p": pass phrase) ‖ salt (32 bytes, random)
    secret  = the 32 bytes of the key file, or Argon2id(pass phrase, salt) at RFC 9106's second recommended setting
    key     = HKDF-SHA256(secret, salt, info = header)

The salt gives each file a key of its own, so no counter comes twice under one key; a changed header gives another key.
"""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Kind = Literal["key file", "pass phrase"]

CHUNK_BYTES = 65_536
TAG_BYTES = 16
_SECRET_BYTES, _SALT_BYTES = 32, 32
_MAGIC = b"securechat-backup/1\n"
_ANY_MAGIC = b"securechat-backup/"
_KINDS: dict[bytes, Kind] = {b"k": "key file", b"p": "pass phrase"}
HEADER_BYTES = len(_MAGIC) + 1 + _SALT_BYTES
_KEY_FILE_PREFIX = "securechat-backup-key/1 "


class DoesNotOpen(Exception):
    """The archive was changed or cut off, or the key is not its key; the message says what is known of it."""


class UnknownFormat(Exception):
    """A format of a newer program."""


class KeyFileInvalid(Exception):
    """Not a key file as ``backup --new-key`` makes it."""


@dataclass(frozen=True)
class Secret:
    """What opens an archive: the bytes of a key file, or a pass phrase."""

    kind: Kind
    secret: bytes

    @classmethod
    def of_pass_phrase(cls, text: str) -> Secret:
        return cls("pass phrase", text.encode())

    @classmethod
    def new(cls) -> Secret:
        return cls("key file", secrets.token_bytes(_SECRET_BYTES))

    @classmethod
    def of_key_file(cls, path: Path) -> Secret:
        """Raises ``KeyFileInvalid`` or ``OSError``."""
        try:
            text = path.read_text(encoding="ascii")
            raw = base64.b64decode(text.removeprefix(_KEY_FILE_PREFIX).strip(), altchars=b"-_", validate=True)
        except ValueError:
            raise KeyFileInvalid(f"{path} is not a key file of a backup.") from None
        if not text.startswith(_KEY_FILE_PREFIX) or len(raw) != _SECRET_BYTES:
            raise KeyFileInvalid(f"{path} is not a key file of a backup.")
        return cls("key file", raw)

    def as_key_file(self) -> bytes:
        return f"{_KEY_FILE_PREFIX}{base64.urlsafe_b64encode(self.secret).decode()}\n".encode()

    def cipher(self, header: bytes) -> ChaCha20Poly1305:
        salt = header[-_SALT_BYTES:]
        secret = self.secret
        if self.kind == "pass phrase":
            argon2 = Argon2id(salt=salt, length=_SECRET_BYTES, iterations=3, lanes=4, memory_cost=65_536)
            secret = argon2.derive(secret)
        return ChaCha20Poly1305(HKDF(SHA256(), _SECRET_BYTES, salt=salt, info=header).derive(secret))


class EncryptingWriter:
    """``finish`` writes the last chunk: without it the file does not open."""

    def __init__(self, write: Callable[[bytes], object], secret: Secret) -> None:
        kind = next(byte for byte, name in _KINDS.items() if name == secret.kind)
        header = _MAGIC + kind + os.urandom(_SALT_BYTES)
        self._write, self._cipher = write, secret.cipher(header)
        self._waiting, self._count = bytearray(), 0
        write(header)

    def write(self, data: bytes) -> None:
        self._waiting += data
        while len(self._waiting) > CHUNK_BYTES:  # Not ">=": one has to be left to be the last.
            self._seal(bytes(self._waiting[:CHUNK_BYTES]), is_last=False)
            del self._waiting[:CHUNK_BYTES]

    def finish(self) -> None:
        self._seal(bytes(self._waiting), is_last=True)

    def _seal(self, chunk: bytes, *, is_last: bool) -> None:
        self._write(self._cipher.encrypt(_nonce(self._count, is_last=is_last), chunk, None))
        self._count += 1


def kind_of(file: BinaryIO) -> Kind:
    """What opens it; leaves the file at its beginning. Raises ``DoesNotOpen`` or ``UnknownFormat``."""
    header = file.read(HEADER_BYTES)
    file.seek(0)
    if not header.startswith(_MAGIC):
        if header.startswith(_ANY_MAGIC):
            raise UnknownFormat("The archive is of a newer format than this program reads.")
        raise DoesNotOpen("This is not a backup of SecureChat.")
    kind = _KINDS.get(header[len(_MAGIC) : len(_MAGIC) + 1])
    if kind is None or len(header) < HEADER_BYTES:
        raise DoesNotOpen("The beginning of the archive is damaged.")
    return kind


class DecryptingReader:
    """Gives out nothing that was not checked."""

    def __init__(self, file: BinaryIO, secret: Secret) -> None:
        """Raises ``DoesNotOpen`` for a secret of the other kind."""
        if kind_of(file) != secret.kind:
            raise DoesNotOpen(f"The archive opens with a {kind_of(file)}, not with a {secret.kind}.")
        self._cipher = secret.cipher(file.read(HEADER_BYTES))
        self._chunks = self._opened(file)
        self._waiting = bytearray()

    def read(self, count: int) -> bytes:
        """Exactly so many bytes. Raises ``DoesNotOpen``, also where there are no more."""
        while len(self._waiting) < count:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise DoesNotOpen("The archive ends too early.")
            self._waiting += chunk
        taken = bytes(self._waiting[:count])
        del self._waiting[:count]
        return taken

    def expect_end(self) -> None:
        if self._waiting or next(self._chunks, b""):
            raise DoesNotOpen("There is more in the archive than it says.")

    def _opened(self, file: BinaryIO) -> Iterator[bytes]:
        sealed, count, is_last = file.read(CHUNK_BYTES + TAG_BYTES), 0, False
        while not is_last:
            following = file.read(CHUNK_BYTES + TAG_BYTES)
            is_last = not following
            try:
                yield self._cipher.decrypt(_nonce(count, is_last=is_last), sealed, None)
            except (InvalidTag, ValueError):
                raise DoesNotOpen(_why(count)) from None
            sealed, count = following, count + 1


def _why(count: int) -> str:
    if count == 0:
        return "The key is not the one of this archive, or the archive is damaged at its beginning."
    return f"The archive was changed or cut off after its first {count * CHUNK_BYTES:,} bytes."


def _nonce(count: int, *, is_last: bool) -> bytes:
    return count.to_bytes(11, "big") + bytes([is_last])
