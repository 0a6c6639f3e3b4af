"""Compares the built client, on the disk and as a server answers, with the manifest of its hashes."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import json
import re
import ssl
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import brotli
from django.conf import settings
from django.contrib.staticfiles import finders

from securechat.assets import MANIFEST, Build, plain_address

# What anybody can open; the pages of signed-in people are made of the same templates.
PAGES = ("/", "/log-in/", "/sign-up/", "/recover/", "/about/", "/what-the-server-sees/")
ENCODINGS = ("identity", "gzip", "br")
_TIMEOUT_SECONDS = 20
_MOST_BYTES = 16 * 1024 * 1024
_HASHED = re.compile(r"^(?P<stem>.+)\.[0-9a-f]{12}(?P<extension>\.\w+)$")
_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.decompress,
    "br": brotli.decompress,
}
_COMPRESSED_FILES = {".gz": "gzip", ".br": "br"}


@dataclass(frozen=True)
class Difference:
    """``place`` is a file or an address, ``problem`` the rest of the sentence."""

    place: str
    problem: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}"


class ServerUnreachable(Exception):
    """No answer, or a certificate that is not trusted; says which."""


def check_disk(build: Build, manifest: Path) -> Iterator[Difference]:
    """The files beside the manifest, and where they were collected also those, with their compressed copies."""
    for path, file in build.files.items():
        source = manifest.parent / path
        yield from _check_file(source, file.is_like)
        found = finders.find(path)
        if isinstance(found, str) and Path(found).resolve() != source.resolve():
            yield Difference(found, f"would be served as {path}")
    root = Path(settings.STATIC_ROOT)
    if (root / MANIFEST).exists():
        yield from _check_collected(build, manifest, root)


def _check_collected(build: Build, manifest: Path, root: Path) -> Iterator[Difference]:
    wanted = manifest.read_bytes()
    yield from _check_file(root / MANIFEST, lambda content: content == wanted)
    for path, file in build.files.items():
        names = {path}
        source = manifest.parent / path
        if source.exists() and file.is_like(content := source.read_bytes()):
            names.add(hashed_name(path, content))
        for name in sorted(names):
            yield from _check_file(root / name, file.is_like)
            for extension, encoding in _COMPRESSED_FILES.items():
                packed = root / f"{name}{extension}"
                if packed.exists():
                    yield from _check_file(packed, file.is_like, _UNPACK[encoding])


def _check_file(
    file: Path, is_right: Callable[[bytes], bool], unpack: Callable[[bytes], bytes] = bytes
) -> Iterator[Difference]:
    try:
        content = unpack(file.read_bytes())
    except FileNotFoundError:
        yield Difference(str(file), "is missing")
    except (OSError, EOFError, zlib.error, brotli.error):
        yield Difference(str(file), "cannot be read")
    else:
        if not is_right(content):
            yield Difference(str(file), "is not the file of the manifest")


def hashed_name(path: str, content: bytes) -> str:
    """As Django's storage names it: ``site.js`` is ``site.0123456789ab.js``."""
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()[:12]
    name = Path(path)
    return str(name.with_name(f"{name.stem}.{digest}{name.suffix}"))


class Server:
    """One connection to a server, which has to show a certificate that this computer or ``root`` vouches for."""

    def __init__(self, origin: str, root: Path | None = None) -> None:
        parts = urlsplit(origin)
        if parts.scheme != "https" or not parts.hostname or parts.path.strip("/"):
            raise ServerUnreachable(
                f"{origin} is not the address of a server: it looks like https://host[:port]."
            )
        self.origin = origin.rstrip("/")
        context = ssl.create_default_context()
        if root is not None and root.exists():
            context.load_verify_locations(root)
        self._connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=_TIMEOUT_SECONDS, context=context
        )

    def get(self, path: str, encoding: str = "identity") -> Answer:
        try:
            return self._ask(path, encoding)
        except ssl.SSLCertVerificationError as error:
            raise ServerUnreachable(
                f"The certificate of {self.origin} is not trusted here ({error.verify_message}). Name its root with --root."
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise ServerUnreachable(f"{self.origin} does not answer ({type(error).__name__}).") from None

    def _ask(self, path: str, encoding: str) -> Answer:
        headers = {"Accept-Encoding": encoding}
        try:
            self._connection.request("GET", path, headers=headers)
            response = self._connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            self._connection.close()  # It was kept open for too long; a new one is made.
            self._connection.request("GET", path, headers=headers)
            response = self._connection.getresponse()
        body = response.read(_MOST_BYTES)
        if not response.isclosed():
            self._connection.close()
        unpack = _UNPACK.get(response.getheader("Content-Encoding", "identity"))
        try:
            content = unpack(body) if unpack else None
        except (OSError, EOFError, zlib.error, brotli.error):
            content = None
        return Answer(response.status, content, response.getheader("Content-Security-Policy", ""))

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Answer:
    """``content`` is None where it could not be unpacked."""

    status: int
    content: bytes | None
    policy: str


def check_server(build: Build, manifest: Path, server: Server) -> Iterator[Difference]:
    """Every file under each of its addresses and in each compression, then the pages that strangers can open."""
    wanted = manifest.read_bytes()
    yield from _check_answers(server, plain_address(MANIFEST), lambda content: content == wanted)
    for path, file in build.files.items():
        names = {path}
        source = manifest.parent / path
        if source.exists() and file.is_like(content := source.read_bytes()):
            names.add(hashed_name(path, content))
        for name in sorted(names):
            yield from _check_answers(server, plain_address(name), file.is_like)
    for page in PAGES:
        yield from _check_page(build, server, page)


def _check_answers(server: Server, address: str, is_right: Callable[[bytes], bool]) -> Iterator[Difference]:
    for encoding in ENCODINGS:
        answer = server.get(address, encoding)
        place = f"{server.origin}{address}" + ("" if encoding == "identity" else f" ({encoding})")
        if answer.status != 200:
            yield Difference(place, f"answers {answer.status}")
        elif answer.content is None or not is_right(answer.content):
            yield Difference(place, "is not the file of the manifest")


def _check_page(build: Build, server: Server, path: str) -> Iterator[Difference]:
    place = f"{server.origin}{path}"
    answer = server.get(path)
    if answer.status != 200 or answer.content is None:
        yield Difference(place, f"answers {answer.status}")
        return
    page = _Page(answer.content.decode(errors="replace"))
    if page.build != build.fingerprint:
        yield Difference(place, f"says that it belongs to build {page.build or 'none'}")
    for address, integrity in page.loaded:
        file = build.files.get(_path_of(urljoin(place, address), server.origin))
        if file is None:
            yield Difference(place, f"loads {address}, which the manifest does not have")
        elif integrity != file.integrity:
            yield Difference(place, f"loads {address} without the hash of the manifest")
    for code in page.inline:
        yield Difference(place, f"has a script of its own: {code[:60]!r}")
    yield from _check_import_maps(build, server, place, page)
    allowed = {"'self'", *(_source_of(text) for text in page.import_maps)}
    if set(_sources(answer.policy, "script-src")) != allowed:
        yield Difference(place, "does not have the policy that lets only the build's scripts run")


def _check_import_maps(build: Build, server: Server, place: str, page: _Page) -> Iterator[Difference]:
    for text in page.import_maps:
        try:
            map_ = json.loads(text)
            hashes = dict(map_["integrity"])
        except (ValueError, TypeError, KeyError):
            yield Difference(place, "has an import map that is none")
            continue
        if set(map_) != {"integrity"}:
            yield Difference(place, "has an import map that leads modules elsewhere")
        said = {_path_of(urljoin(place, address), server.origin): said for address, said in hashes.items()}
        for path in build.modules:
            if said.get(path) != build.files[path].integrity:
                yield Difference(place, f"has an import map without the hash of {path}")
    if len(page.import_maps) != 1:
        yield Difference(place, f"has {len(page.import_maps)} import maps")


def _path_of(url: str, origin: str) -> str:
    """The manifest's name for an address, with or without Django's hash in it; the URL itself for a foreign one."""
    prefix = f"{origin}{settings.STATIC_URL}"
    if not url.startswith(prefix):
        return url
    name = url.removeprefix(prefix)
    match = _HASHED.fullmatch(name)
    return f"{match['stem']}{match['extension']}" if match else name


def _source_of(inline: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"


def _sources(policy: str, directive: str) -> list[str]:
    for part in policy.split(";"):
        name, _, sources = part.strip().partition(" ")
        if name == directive:
            return sources.split()
    return []


class _Page(HTMLParser):
    """What a page loads and runs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.build = ""
        self.loaded: list[tuple[str, str | None]] = []
        self.import_maps: list[str] = []
        self.inline: list[str] = []
        self._script: list[str] | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "meta" and given.get("name") == "build":
            self.build = given.get("content") or ""
        if tag == "link" and "stylesheet" in (given.get("rel") or "").split():
            self.loaded.append((given.get("href") or "", given.get("integrity")))
        if tag == "script" and given.get("src") is not None:
            self.loaded.append((given["src"] or "", given.get("integrity")))
        elif tag == "script" and given.get("type") == "importmap":
            self.import_maps.append("")
            self._script = self.import_maps
        elif tag == "script" and given.get("type") != "application/json":
            self.inline.append("")
            self._script = self.inline

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self._script[-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None
