"""The manifest of the build, how its files are kept, and `manage.py verify_assets` against the disk and a real server."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from pytest_django.fixtures import Settings

from securechat import asset_check, assets, builds
from securechat.assets import BuildMissing
from tests.live_server import LiveServer, live_server

DIST = Path(project.BASE_DIR) / "client" / "dist"
FINGERPRINT = hashlib.sha256((DIST / "manifest.json").read_bytes()).hexdigest()


def flip_a_bit(file: Path, at: int = -1) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def forget_finders() -> None:
    """They remember the folders of the settings."""
    finders.get_finder.cache_clear()  # type: ignore[attr-defined]  # An lru_cache, which the stubs hide.


@pytest.fixture
def dist(tmp_path: Path, settings: Settings) -> Iterator[Path]:
    """A copy of the built client that the finders find instead, and a folder to collect it into."""
    copy = tmp_path / "dist"
    shutil.copytree(DIST, copy)
    settings.STATICFILES_DIRS = [copy]
    settings.STATIC_ROOT = str(tmp_path / "static")
    forget_finders()
    yield copy
    forget_finders()


@pytest.fixture
def collected(dist: Path, settings: Settings) -> Path:
    storage = {"BACKEND": "securechat.static_files.BuiltFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": storage}
    call_command("collectstatic", "--noinput", "--verbosity", "0")
    return Path(settings.STATIC_ROOT)


def verify(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code, and everything that was said."""
    code, sentence = 0, ""
    try:
        call_command("verify_assets", *arguments)
    except CommandError as error:
        code, sentence = error.returncode, str(error)
    return code, capsys.readouterr().out + sentence


# The manifest


def test_the_manifest_is_of_the_files_that_were_built() -> None:
    build = assets.read_build(DIST / "manifest.json")

    on_disk = {str(path.relative_to(DIST)) for path in DIST.rglob("*") if path.is_file()}
    assert build.files.keys() == {name for name in on_disk if not name.startswith(".")} - {"manifest.json"}
    assert all(file.is_like((DIST / path).read_bytes()) for path, file in build.files.items())
    assert build.fingerprint == FINGERPRINT
    assert build.short_fingerprint == "-".join(re.findall("....", FINGERPRINT[:16]))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"format": "securechat-build/2", "version": "1", "files": {}}',
        b'{"format": "securechat-build/1", "version": 1, "files": {}}',
        b'{"format": "securechat-build/1", "version": "1", "files": []}',
        b'{"format": "securechat-build/1", "version": "1", "files": {"a": {"sha384": "x", "size": 1}}}',
        b'{"format": "securechat-build/1", "version": "1", "files": {"a": {"sha384": null, "size": 1}}}',
        b"\xff",
    ],
)
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(BuildMissing):
        assets.parse_manifest(content)


def test_what_the_build_did_not_make_has_no_hash() -> None:
    with pytest.raises(BuildMissing, match=r"other\.js"):
        assets.integrity_of("securechat/other.js")


def test_the_import_map_has_every_module_under_each_address() -> None:
    hashes = json.loads(assets.import_map())["integrity"]

    modules = assets.running_build().modules
    assert any("chunk-" in path for path in modules)
    for path in modules:
        assert hashes[f"/static/{path}"] == assets.integrity_of(path)
    assert "argon2-worker" not in assets.import_map()


@pytest.mark.django_db
def test_an_open_page_can_ask_which_build_runs(client: Client) -> None:
    response = client.get("/build/")

    assert response.json() == {"version": assets.running_build().version, "fingerprint": FINGERPRINT}
    assert response.headers["Cache-Control"] == "no-store"


# What was published


def test_a_release_is_found_in_the_list(tmp_path: Path) -> None:
    page = tmp_path / "builds.md"
    page.write_text(
        f"| Version | Date | Fingerprint |\n| --- | --- | --- |\n| 0.1.0 | not released yet | |\n| 1.0.0 | 2026-01-01 | `{'a' * 64}` |\n"
    )

    assert builds.published_fingerprint("1.0.0", page) == "a" * 64
    assert builds.published_fingerprint("0.1.0", page) is None
    assert builds.published_fingerprint("1.0", page) is None
    assert builds.published_fingerprint("1.0.0", tmp_path / "none.md") is None


def test_the_projects_own_list_can_be_read() -> None:
    assert builds.builds_page().exists()
    version = json.loads((Path(project.BASE_DIR) / "client" / "package.json").read_text())["version"]
    assert version in builds.builds_page().read_text()


@pytest.mark.django_db
def test_the_about_page_shows_the_published_fingerprint_and_where_to_look(
    client: Client, settings: Settings, tmp_path: Path
) -> None:
    version = assets.running_build().version
    before = client.get("/about/").content.decode()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "builds.md").write_text(f"| {version} | today | `{'b' * 64}` |\n")
    settings.BASE_DIR = tmp_path
    settings.PUBLISHED_FINGERPRINT_URL = "https://releases.example/securechat"

    after = client.get("/about/").content.decode()

    assert "No fingerprint is published" in before
    assert " ".join(["bbbb"] * 16) in after
    assert '<a href="https://releases.example/securechat" rel="noreferrer">' in after
    assert "came from the server, too" in after


# Collecting


def test_files_are_served_byte_for_byte_as_they_were_built(collected: Path) -> None:
    names = json.loads((collected / "staticfiles.json").read_text())["paths"]

    for path, file in assets.read_build(DIST / "manifest.json").files.items():
        assert file.is_like((collected / path).read_bytes()), path
        assert file.is_like((collected / names[path]).read_bytes()), path
        assert names[path] == asset_check.hashed_name(path, (DIST / path).read_bytes())


def test_the_admins_own_style_sheets_are_still_rewritten(collected: Path) -> None:
    names = json.loads((collected / "staticfiles.json").read_text())["paths"]

    style = (collected / names["admin/css/base.css"]).read_text()
    assert re.search(r"url\(\"?\.\./img/[\w-]+\.[0-9a-f]{12}\.svg", style)


# The command, on the disk


def test_what_was_built_and_collected_matches(collected: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = verify(capsys, "--disk-only")

    assert code == 0
    assert FINGERPRINT in said
    assert "Everything matches the manifest." in said


def test_the_fingerprint_can_be_printed_alone(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(capsys, "--print-fingerprint") == (0, f"{FINGERPRINT}\n")


@pytest.mark.parametrize("how", [str, str.upper, lambda text: " ".join(re.findall("....", text))])
def test_the_published_fingerprint_is_compared_however_it_is_written(
    dist: Path, capsys: pytest.CaptureFixture[str], how: Any
) -> None:
    assert verify(capsys, "--disk-only", "--expect", how(FINGERPRINT))[0] == 0


def test_another_fingerprint_than_the_published_is_a_difference(
    dist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = verify(capsys, "--disk-only", "--expect", "0" * 64)

    assert code == 1
    assert f"is of build {FINGERPRINT}, not {'0' * 64}" in said


def test_a_short_fingerprint_is_not_enough(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = verify(capsys, "--disk-only", "--expect", FINGERPRINT[:16])

    assert code == 2
    assert "64 hexadecimal digits" in said


def test_one_changed_bit_in_the_built_file_is_named(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip_a_bit(dist / "securechat" / "chat.js")

    code, said = verify(capsys, "--disk-only")

    assert code == 1
    assert f"{dist / 'securechat' / 'chat.js'}\n  is not the file of the manifest" in said
    assert "1 thing differs." in said


def test_one_changed_bit_in_a_collected_file_is_named(
    collected: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hashed = next((collected / "securechat").glob("chat.????????????.js"))
    flip_a_bit(hashed)
    packed = collected / "securechat" / "site.css.gz"
    packed.write_bytes(gzip.compress(b"body { display: none }"))
    (collected / "securechat" / "site.js.br").write_bytes(b"no brotli")
    (collected / "securechat" / "log_in.js").unlink()

    code, said = verify(capsys, "--disk-only", "--json")

    places = {
        entry["place"]: entry["problem"] for entry in json.loads(said.rpartition("}")[0] + "}")["differences"]
    }
    assert code == 1
    assert places == {
        str(hashed): "is not the file of the manifest",
        str(packed): "is not the file of the manifest",
        str(collected / "securechat" / "site.js.br"): "cannot be read",
        str(collected / "securechat" / "log_in.js"): "is missing",
    }


def test_a_changed_manifest_is_another_fingerprint(
    collected: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who changes a file and its manifest alike, in both places, is caught by the published fingerprint alone."""
    for root in (collected, collected.parent / "dist"):
        manifest = json.loads((root / "manifest.json").read_text())
        manifest["version"] = "0.1.1"
        (root / "manifest.json").write_text(json.dumps(manifest))

    assert verify(capsys, "--disk-only")[0] == 0
    assert verify(capsys, "--disk-only", "--expect", FINGERPRINT)[0] == 1


def test_without_a_build_it_says_what_to_do(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dist / "manifest.json").unlink()
    forget_finders()

    code, said = verify(capsys, "--disk-only")

    assert code == 2
    assert "make build" in said


def test_the_help_has_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command("verify_assets", "--help")

    said = capsys.readouterr().out
    assert "verify_assets --url https://chat.example" in said
    assert "exit codes" in said


# The command, against a server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("assets")) as running:
        yield running


def ask(server: LiveServer, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    return verify(capsys, "--url", server.origin, "--root", str(server.ca_file), *more)


def test_an_honest_server_matches(dist: Path, server: LiveServer, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = ask(server, capsys)

    assert said.rstrip().endswith("Everything matches the manifest.")
    assert code == 0


def test_the_served_byte_that_was_changed_is_named(
    dist: Path, server: LiveServer, capsys: pytest.CaptureFixture[str]
) -> None:
    served = server.directory / "static" / "securechat"
    plain = next(served.glob("log_in.????????????.js"))
    packed = served / "site.css.br"
    kept = {file: file.read_bytes() for file in (plain, packed)}
    flip_a_bit(plain)
    flip_a_bit(packed, packed.stat().st_size // 2)  # The last bits of a stream may mean nothing.
    try:
        code, said = ask(server, capsys, "--json")
    finally:
        for file, content in kept.items():
            file.write_bytes(content)

    report = json.loads(said.rpartition("}")[0] + "}")
    assert code == 1
    assert report["matches"] is False
    assert {entry["place"] for entry in report["differences"]} == {
        f"{server.origin}/static/securechat/{plain.name}",
        f"{server.origin}/static/securechat/site.css (br)",
    }


def test_a_server_without_a_trusted_certificate_is_not_believed(
    dist: Path, server: LiveServer, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.CERTS_DIR = str(tmp_path)

    code, said = verify(capsys, "--url", server.origin)

    assert code == 2
    assert "not trusted here" in said


@pytest.mark.parametrize(
    "url", ["http://localhost", "localhost", "https://localhost/path", "https://localhost:1"]
)
def test_what_cannot_be_asked_is_said_so(dist: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = verify(capsys, "--url", url)

    assert code == 2
    assert url in said


def test_a_server_with_another_build_and_a_script_of_its_own_is_caught(
    dist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It lies alike in file, manifest and page, as whoever controls it can; a clone elsewhere sees it."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    with live_server(folder) as honest:
        origin = honest.origin
        honest.stop()
        static = folder / "static"
        evil = static / "securechat" / "site.js"
        names = json.loads((static / "staticfiles.json").read_text())["paths"]
        for name in ("securechat/site.js", names["securechat/site.js"]):
            (static / name).write_bytes(evil.read_bytes() + b"\nsteal()")
            for packed in static.glob(f"{name}.*"):
                packed.unlink()
        manifest = json.loads((static / "manifest.json").read_text())
        entry = manifest["files"]["securechat/site.js"]
        entry["sha384"] = assets.sha384_of((static / names["securechat/site.js"]).read_bytes())
        (static / "manifest.json").write_text(json.dumps(manifest))
        for packed in static.glob("manifest.json.*"):
            packed.unlink()
        honest.start()

        code, said = ask(honest, capsys)

    assert code == 1
    assert f"{origin}/static/securechat/site.js\n  is not the file of the manifest" in said
    assert f"{origin}/log-in/\n  says that it belongs to build" in said
    assert "without the hash of the manifest" in said
    assert "has an import map without the hash of securechat/site.js" in said
