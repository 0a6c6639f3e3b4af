"""The server's own keys in one file, to be kept apart from the archives: whoever has both has the server.

JSON: ``{"format", "made_at", "secret_key", "keys" (as in a key file), "files": [{"place", "name", "mode", "text"}]}``; ``place``
is "environment", "certificates", "certificate" or "certificate key", so that a restore knows where each belongs here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from django.conf import settings

from securechat import sealed
from securechat.backup.new_file import new_file

Place = Literal["environment", "certificates", "certificate", "certificate key"]

_FORMAT = "securechat-keys/1"


class BundleInvalid(Exception):
    """Not a file of keys as ``backup --keys`` makes it."""


class OtherKeys(Exception):
    """There are other keys at ``KEYS_FILE``, or in ``SECURECHAT_KEYS``, than those of the bundle."""


@dataclass(frozen=True)
class KeptFile:
    place: Place
    name: str
    mode: int
    text: str

    @property
    def path(self) -> Path | None:
        """Where it belongs here; None where nothing of the kind is set."""
        match self.place:
            case "environment":
                return Path(settings.ENV_FILE)
            case "certificates":
                return Path(settings.CERTS_DIR) / self.name
            case "certificate":
                return Path(settings.TLS_CERTIFICATE_FILE) if settings.TLS_CERTIFICATE_FILE else None
            case "certificate key":
                return Path(settings.TLS_KEY_FILE) if settings.TLS_KEY_FILE else None


@dataclass(frozen=True)
class Bundle:
    secret_key: str
    ring: sealed.KeyRing
    files: list[KeptFile]

    @classmethod
    def of_this_server(cls) -> Bundle:
        """Raises ``KeysMissing``, ``KeysInvalid`` or ``OSError``."""
        return cls(settings.SECRET_KEY, sealed.key_ring(), list(_files_of_this_server()))

    @classmethod
    def read(cls, path: Path) -> Bundle:
        """Raises ``BundleInvalid`` or ``OSError``."""
        try:
            stored = json.loads(path.read_text(encoding="ascii"))
            if stored["format"] != _FORMAT:
                raise ValueError
            ring = sealed.parse_keys(json.dumps(stored["keys"]))
            files = [KeptFile(**each) for each in stored["files"]]
            if any(Path(each.name).name != each.name for each in files):
                raise ValueError
            return cls(stored["secret_key"], ring, files)
        except (ValueError, KeyError, TypeError, sealed.KeysInvalid):
            raise BundleInvalid(f"{path} is not a file of keys as backup --keys makes it.") from None

    def encode(self, now: datetime) -> bytes:
        stored = {
            "format": _FORMAT,
            "made_at": now.isoformat(timespec="seconds"),
            "secret_key": self.secret_key,
            "keys": sealed.stored_form(self.ring),
            "files": [asdict(each) for each in self.files],
        }
        return json.dumps(stored, indent=1).encode()

    def require_no_other_keys(self) -> None:
        """Raises ``OtherKeys``: which of the two is wrong is for people to say."""
        try:
            here = sealed.key_ring()
        except sealed.KeysMissing:
            return
        except sealed.KeysInvalid:
            raise OtherKeys(f"The keys at {_where()} are damaged. Move them away first.") from None
        if here != self.ring:
            raise OtherKeys(f"The keys at {_where()} are not those of the bundle. Move away what is wrong.")

    def put_in_place(self) -> tuple[list[Path], list[Path]]:
        """Writes what is missing; what was written, and what is there and differs, which is left alone."""
        written: list[Path] = []
        differing: list[Path] = []
        if not settings.SECURECHAT_KEYS and not Path(settings.KEYS_FILE).exists():
            sealed.write_key_file(self.ring, Path(settings.KEYS_FILE))
            written.append(Path(settings.KEYS_FILE))
        for each in self.files:
            path, content = each.path, each.text.encode("utf-8", "surrogateescape")
            if path is None:
                continue
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                with new_file(path, mode=each.mode) as file:
                    file.write(content)
                written.append(path)
            elif path.read_bytes() != content:
                differing.append(path)
        return written, differing


def _where() -> str:
    return "SECURECHAT_KEYS" if settings.SECURECHAT_KEYS else str(settings.KEYS_FILE)


def _files_of_this_server() -> Iterator[KeptFile]:
    certificates = Path(settings.CERTS_DIR)
    found: list[tuple[Place, Path]] = [("environment", Path(settings.ENV_FILE))]
    if certificates.is_dir():
        found += [("certificates", path) for path in sorted(certificates.iterdir()) if _is_kept(path)]
    if settings.TLS_CERTIFICATE_FILE:
        found.append(("certificate", Path(settings.TLS_CERTIFICATE_FILE)))
        found.append(("certificate key", Path(settings.TLS_KEY_FILE)))
    for place, path in found:
        if path.is_file():
            text = path.read_bytes().decode("utf-8", "surrogateescape")
            yield KeptFile(place, path.name, os.stat(path).st_mode & 0o777, text)


def _is_kept(path: Path) -> bool:
    """The key file is in the bundle by itself."""
    return path.suffix in (".crt", ".key", ".pem") and path.resolve() != Path(settings.KEYS_FILE).resolve()
