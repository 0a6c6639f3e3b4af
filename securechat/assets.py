"""What the client's build made: which files, their hashes, and the fingerprint of the whole.

``client/build.mjs`` writes ``manifest.json`` beside what it builds. Everything a page loads as a script or a style is in
it, and the page says its hash (Subresource Integrity), so a file that was changed behind the page's back does not run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage

MANIFEST = "manifest.json"
WORKER = "securechat/argon2-worker.js"
_FORMAT = "securechat-build/1"
_SHA384 = re.compile(r"[A-Za-z0-9+/]{64}")
_NAMED_BY_THE_BUILD = re.compile(
    r"-[A-Z0-9]{8}\.\w+$"
)  # Others in the build name these: no second hash goes in.
_SHORT_DIGITS, _GROUP_DIGITS = 16, 4


class BuildMissing(Exception):
    """The client was not built, or its manifest is not one; says which and what to do."""


@dataclass(frozen=True)
class BuiltFile:
    """``sha384`` in base64, ``size`` in bytes."""

    sha384: str
    size: int

    @property
    def integrity(self) -> str:
        return f"sha384-{self.sha384}"

    def is_like(self, content: bytes) -> bool:
        return sha384_of(content) == self.sha384


@dataclass(frozen=True)
class Build:
    """``files`` by their path below the static files' root; ``fingerprint`` is the manifest's SHA-256 in hex."""

    version: str
    files: Mapping[str, BuiltFile]
    fingerprint: str

    @property
    def short_fingerprint(self) -> str:
        return shortened(self.fingerprint)

    @property
    def modules(self) -> list[str]:
        """Every script that a page may load, entry or shared part."""
        return [path for path in self.files if path.endswith(".js") and path != WORKER]


def shortened(fingerprint: str) -> str:
    """``3f9a-71c2-08be-44d1``: enough to notice another build, too short to tell a forged one."""
    digits = fingerprint[:_SHORT_DIGITS]
    return "-".join(digits[at : at + _GROUP_DIGITS] for at in range(0, len(digits), _GROUP_DIGITS))


def sha384_of(content: bytes) -> str:
    return base64.b64encode(hashlib.sha384(content).digest()).decode()


def parse_manifest(content: bytes) -> Build:
    """Raises ``BuildMissing`` for anything but a manifest of this format."""
    try:
        manifest = json.loads(content)
        if manifest["format"] != _FORMAT or not isinstance(manifest["version"], str):
            raise ValueError
        files = {path: _built_file(entry) for path, entry in manifest["files"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise BuildMissing("The manifest of the build is damaged. Build the client: make build") from None
    return Build(manifest["version"], files, hashlib.sha256(content).hexdigest())


def _built_file(entry: Any) -> BuiltFile:
    sha384, size = entry["sha384"], entry["size"]
    if not _SHA384.fullmatch(sha384) or type(size) is not int:
        raise ValueError
    return BuiltFile(sha384, size)


def read_build(manifest: Path) -> Build:
    try:
        content = manifest.read_bytes()
    except OSError:
        raise BuildMissing(f"There is no {manifest}. Build the client: make build") from None
    return parse_manifest(content)


def collected_manifest() -> Path:
    return Path(settings.STATIC_ROOT) / MANIFEST


def source_manifest() -> Path | None:
    """The one that ``collectstatic`` would take."""
    found = finders.find(MANIFEST)
    return Path(found) if isinstance(found, str) else None


@cache
def running_build() -> Build:
    """The build that this process serves, as it was when first asked for. Raises ``BuildMissing``."""
    collected = collected_manifest()
    source = source_manifest()
    return read_build(collected if collected.exists() or source is None else source)


def integrity_of(path: str) -> str:
    """For an ``integrity`` attribute. Raises ``BuildMissing`` for what the build did not make."""
    try:
        return running_build().files[path].integrity
    except KeyError:
        raise BuildMissing(
            f"{path} is not in the manifest of the build. Build the client: make build"
        ) from None


def plain_address(path: str) -> str:
    return f"{settings.STATIC_URL}{path}"


def address_of(path: str) -> str:
    """Where a page finds it."""
    return plain_address(path) if _NAMED_BY_THE_BUILD.search(path) else staticfiles_storage.url(path)


@cache
def import_map() -> str:
    """Says the hash of every module under each of its addresses: one that another imports has no tag to say it in."""
    hashes = {
        address: integrity_of(path)
        for path in sorted(running_build().modules)
        for address in sorted({address_of(path), plain_address(path)})
    }
    return json.dumps({"integrity": hashes}, separators=(",", ":"))


@cache
def import_map_source() -> str:
    """The one inline script that the Content-Security-Policy lets through, named by its hash (CSP3 section 6.7.3.3)."""
    digest = hashlib.sha256(import_map().encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
