"""Certificates as OpenSSL and Python's own TLS client see them."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.management import CommandError, call_command
from pytest_django import Settings

from securechat import certificates
from securechat.certificates import CertificateProblem

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def folder(settings: Settings, tmp_path: Path) -> Path:
    settings.CERTS_DIR = str(tmp_path / "certs")
    settings.PUBLIC_HOST = "chat.example"
    settings.CERTIFICATE_HOSTS = ["chat.example", "localhost", "127.0.0.1", "::1", "localhost"]
    settings.TLS_CERTIFICATE_FILE = settings.TLS_KEY_FILE = ""
    return tmp_path / "certs"


def connect(folder: Path, host: str) -> ssl.SSLObject | ssl.SSLSocket:
    """A handshake with a client that trusts the root and nothing else."""
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(folder / "server.crt", folder / "server.key")
    client_context = ssl.create_default_context(cafile=folder / "root.crt")
    ours, theirs = socket.socketpair()
    ours.settimeout(5)

    def serve() -> None:
        try:
            server_context.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client_context.wrap_socket(ours, server_hostname=host) as connection:
            return connection
    finally:
        ours.close()
        thread.join()


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


@pytest.mark.parametrize("host", ["chat.example", "localhost", "127.0.0.1", "::1"])
def test_who_trusts_the_root_can_connect_by_every_host(folder: Path, host: str) -> None:
    certificates.init()

    connect(folder, host)


def test_another_host_is_refused(folder: Path) -> None:
    certificates.init()

    with pytest.raises(ssl.SSLCertVerificationError):
        connect(folder, "other.example")


def test_the_root_cannot_sign_for_anybody_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    certificates.init()
    monkeypatch.setattr(
        certificates, "_may_sign_for", lambda root, host: True
    )  # As a thief of root.key would.
    settings.CERTIFICATE_HOSTS = ["bank.example"]
    certificates.renew()

    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        connect(folder, "bank.example")


@pytest.mark.skipif(
    not shutil.which("openssl"), reason="it needs openssl, a judge that is not our own library: install it"
)
def test_openssl_finds_nothing_wrong_with_the_chain(folder: Path) -> None:
    certificates.init()

    verdict = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "root.crt", "server.crt"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert verdict.stdout.strip() == "server.crt: OK", verdict.stderr


def test_what_the_certificates_say(folder: Path) -> None:
    certificates.init(now=NOW)
    root, leaf = read(folder / "root.crt"), read(folder / "server.crt")

    assert isinstance(root.public_key(), ec.EllipticCurvePublicKey)
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    assert root.extensions.get_extension_for_class(x509.NameConstraints).critical
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= timedelta(days=90)
    assert certificates.hosts_of(leaf) == ["chat.example", "localhost", "127.0.0.1", "::1"]


def test_keys_are_for_their_owner_only(folder: Path) -> None:
    certificates.init()

    assert {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()} == {
        "root.crt": "0o644",
        "root.key": "0o600",
        "server.crt": "0o644",
        "server.key": "0o600",
    }


def test_a_second_init_changes_nothing(folder: Path) -> None:
    assert certificates.init()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    assert not certificates.init()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_processes_that_start_together_make_one_certificate(folder: Path) -> None:
    for _ in range(3):
        shutil.rmtree(folder, ignore_errors=True)
        with ThreadPoolExecutor(4) as pool:
            made = [start.result() for start in [pool.submit(certificates.init) for _ in range(4)]]

        assert sorted(made) == [False, False, False, True]
        assert not certificates.is_due()


def test_the_server_certificate_is_renewed_from_the_same_root_when_due(
    folder: Path, settings: Settings
) -> None:
    certificates.init(now=NOW)
    root, leaf = read(folder / "root.crt"), read(folder / "server.crt")
    days = settings.CERTIFICATE_DAYS - settings.CERTIFICATE_RENEW_DAYS

    assert not certificates.init(now=NOW + timedelta(days=days - 1))
    assert certificates.init(now=NOW + timedelta(days=days + 1))
    assert read(folder / "root.crt") == root
    assert read(folder / "server.crt") != leaf


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("not a certificate")])
@pytest.mark.parametrize("name", ["server.crt", "server.key"])
def test_a_lost_or_damaged_server_certificate_is_made_again(folder: Path, name: str, damage: Any) -> None:
    certificates.init()
    damage(folder / name)

    assert certificates.init()
    connect(folder, "localhost")


def test_a_host_that_the_root_may_not_sign_for_needs_a_new_root(settings: Settings) -> None:
    certificates.init()
    settings.CERTIFICATE_HOSTS = ["chat.example", "more.example"]

    with pytest.raises(CertificateProblem, match=r"may not sign for more\.example"):
        certificates.init()
    assert certificates.init(new_root=True)


def test_fewer_hosts_make_a_new_server_certificate(settings: Settings) -> None:
    certificates.init()
    settings.CERTIFICATE_HOSTS = ["localhost"]

    assert certificates.init()


@pytest.mark.parametrize("host", ["münchen.example", "two words", "-", "", "*.example"])
def test_what_is_no_host_is_refused_in_a_sentence(settings: Settings, host: str) -> None:
    settings.CERTIFICATE_HOSTS = [host]

    with pytest.raises(CertificateProblem, match="neither a host name in ASCII nor an address"):
        certificates.init()


def test_a_root_without_its_key_is_never_replaced_silently(folder: Path) -> None:
    certificates.init()
    root = (folder / "root.crt").read_bytes()
    (folder / "root.key").unlink()
    (folder / "server.crt").unlink()

    with pytest.raises(CertificateProblem, match=r"There is no .*root\.key"):
        certificates.init()
    assert (folder / "root.crt").read_bytes() == root


def test_certificates_of_ones_own_are_used_and_left_alone(
    folder: Path, settings: Settings, tmp_path: Path
) -> None:
    certificates.init()
    folder.rename(tmp_path / "own")
    settings.TLS_CERTIFICATE_FILE = str(tmp_path / "own" / "server.crt")
    settings.TLS_KEY_FILE = str(tmp_path / "own" / "server.key")

    assert not certificates.init()
    assert certificates.root_fingerprint() is None
    assert [summary.role for summary in certificates.show()] == ["server"]
    with pytest.raises(CertificateProblem, match="renew it where it came from"):
        certificates.renew()


def test_certificates_of_ones_own_that_do_not_fit_are_refused(folder: Path, settings: Settings) -> None:
    certificates.init()
    settings.TLS_CERTIFICATE_FILE = str(folder / "server.crt")
    settings.TLS_KEY_FILE = str(folder / "root.key")

    with pytest.raises(CertificateProblem, match="is not the key of"):
        certificates.init()


@pytest.mark.django_db
def test_show_tells_programs_the_same_as_people(folder: Path) -> None:
    for_people, for_programs = StringIO(), StringIO()
    call_command("certs", "init", stdout=for_people)
    call_command("certs", "show", "--json", stdout=for_programs)
    shown = json.loads(for_programs.getvalue())

    assert shown["root"]["fingerprint_sha256"] == certificates.root_fingerprint()
    assert shown["root"]["fingerprint_sha256"] in for_people.getvalue()
    assert shown["server"]["hosts"] == ["chat.example", "localhost", "127.0.0.1", "::1"]


def test_show_before_init_says_what_to_run() -> None:
    with pytest.raises(CommandError, match=r"run manage\.py certs init"):
        call_command("certs", "show")


def test_a_folder_that_cannot_be_written_is_one_sentence(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings.CERTS_DIR = str(tmp_path / "file" / "certs")

    with pytest.raises(CertificateProblem, match="cannot be written: Not a directory"):
        certificates.init()
