"""The server's own root certificate and the certificate it serves with, for who has none from elsewhere.

The root may only sign for the hosts it was made for (name constraints), so trusting it on a computer trusts this server
and nothing else. Files in ``CERTS_DIR``: ``root.crt``, ``root.key``, ``server.crt`` (with the root behind it), ``server.key``.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from django.conf import settings

ROOT_LIFETIME = timedelta(days=3650)
_CLOCKS_DIFFER_BY = timedelta(hours=1)
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")

KeyPair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


class CertificateProblem(Exception):
    """Says in one sentence what is wrong with the certificates and what to do."""


@dataclass(frozen=True)
class CertificateFiles:
    """What to serve with. ``certificate`` holds the whole chain; ``is_own`` where this project did not make it."""

    certificate: Path
    key: Path
    is_own: bool


def files() -> CertificateFiles:
    if settings.TLS_CERTIFICATE_FILE or settings.TLS_KEY_FILE:
        return CertificateFiles(Path(settings.TLS_CERTIFICATE_FILE), Path(settings.TLS_KEY_FILE), is_own=True)
    folder = Path(settings.CERTS_DIR)
    return CertificateFiles(folder / "server.crt", folder / "server.key", is_own=False)


def root_file() -> Path:
    return Path(settings.CERTS_DIR) / "root.crt"


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 as browsers show it: ``AB:CD:…``, 32 pairs."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def root_fingerprint() -> str | None:
    """None where there is no root of our own; raises ``CertificateProblem`` when the file is damaged."""
    if files().is_own or not root_file().exists():
        return None
    return fingerprint(_read_certificate(root_file()))


def init(*, new_root: bool = False, now: datetime | None = None) -> bool:
    """Makes what is missing or due; says whether anything was made. With certificates of one's own it only checks them."""
    now = now or datetime.now(UTC)
    if files().is_own:
        _check_pair(files())
        return False
    if root_file().exists() and not new_root and not is_due(now=now):
        return False
    with _one_at_a_time():
        root_is_missing = not root_file().exists()
        if root_is_missing or new_root:
            _make_root(now)
        if root_is_missing or new_root or is_due(now=now):
            renew(now=now)
            return True
        return False


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Several processes share the folder, and could leave the key of one beside the certificate of another."""
    folder = Path(settings.CERTS_DIR)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise CertificateProblem(f"{folder} cannot be written: {error.strerror}.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def is_due(*, now: datetime | None = None) -> bool:
    """Missing, damaged, soon over (``CERTIFICATE_RENEW_DAYS``), for other hosts, or not signed by the root."""
    now = now or datetime.now(UTC)
    try:
        leaf, root = _read_certificate(files().certificate), _read_certificate(root_file())
        _check_pair(files())
        leaf.verify_directly_issued_by(root)
    except (CertificateProblem, InvalidSignature, ValueError, TypeError):
        return True
    soon = now + timedelta(days=settings.CERTIFICATE_RENEW_DAYS)
    return leaf.not_valid_after_utc < soon or hosts_of(leaf) != _hosts()


def renew(*, now: datetime | None = None) -> None:
    """A new key and certificate for the server, signed by the root that is there."""
    if files().is_own:
        raise CertificateProblem(
            "TLS_CERTIFICATE_FILE names a certificate of your own: renew it where it came from."
        )
    now = now or datetime.now(UTC)
    root, root_key = _read_root()
    if root.not_valid_after_utc < now + timedelta(days=settings.CERTIFICATE_DAYS):
        raise CertificateProblem(
            "The root certificate ends soon: run manage.py certs init --new-root, and trust it again."
        )
    if missing := [host for host in _hosts() if not _may_sign_for(root, host)]:
        raise CertificateProblem(
            f"The root certificate may not sign for {', '.join(missing)}: run manage.py certs init --new-root, and trust it again."
        )
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _leaf(key, root, root_key, now)
    _write_private_key(files().key, key)
    _write(files().certificate, _pem(certificate) + _pem(root), 0o644)


@dataclass(frozen=True)
class CertificateSummary:
    role: str
    file: Path
    hosts: Sequence[str]
    fingerprint: str
    not_before: datetime
    not_after: datetime


def show() -> list[CertificateSummary]:
    """Root (where it is ours), then server. Raises ``CertificateProblem`` when there are none yet."""
    summaries = [] if files().is_own else [_summary("root", root_file())]
    return [*summaries, _summary("server", files().certificate)]


def hosts_of(certificate: x509.Certificate) -> list[str]:
    """The names and addresses it is for; for a root those it may sign for."""
    extensions = certificate.extensions
    try:
        return [
            _host_text(name) for name in extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        ]
    except x509.ExtensionNotFound:
        pass
    try:
        constraints = extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return []
    return [_host_text(name) for name in constraints.permitted_subtrees or []]


def _summary(role: str, file: Path) -> CertificateSummary:
    certificate = _read_certificate(file)
    return CertificateSummary(
        role=role,
        file=file,
        hosts=hosts_of(certificate),
        fingerprint=fingerprint(certificate),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def _hosts() -> list[str]:
    """``CERTIFICATE_HOSTS`` in their one spelling, each once."""
    return [_host_text(name) for name in map(_general_name, dict.fromkeys(settings.CERTIFICATE_HOSTS))]


def _general_name(host: str) -> x509.GeneralName:
    text = host.strip().strip("[]").lower()
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    if not _HOST.fullmatch(text):
        raise CertificateProblem(
            f"CERTIFICATE_HOSTS: {host!r} is neither a host name in ASCII nor an address."
        )
    return x509.DNSName(text)


def _host_text(name: x509.GeneralName) -> str:
    if isinstance(name, x509.IPAddress) and isinstance(
        name.value, ipaddress.IPv4Network | ipaddress.IPv6Network
    ):
        return str(name.value.network_address)
    return str(name.value)


def _may_sign_for(root: x509.Certificate, host: str) -> bool:
    """The hosts of the root exactly; it would allow what lies below a name as well, but nobody agreed to that."""
    return host in hosts_of(root)


def _make_root(now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "SecureChat"),
            x509.NameAttribute(
                NameOID.COMMON_NAME, f"SecureChat root for {settings.PUBLIC_HOST} {now:%Y-%m-%d}"[:64]
            ),
        ]
    )
    subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _builder(name, name, key, now, ROOT_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(_networks(), None), critical=True)
        .add_extension(subject_key, critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_private_key(Path(settings.CERTS_DIR) / "root.key", key)
    _write(root_file(), _pem(certificate), 0o644)


def _networks() -> list[x509.GeneralName]:
    """The hosts as name constraints want them: an address is a network of one."""
    names = [_general_name(host) for host in _hosts()]
    return [
        x509.IPAddress(ipaddress.ip_network(n.value)) if isinstance(n, x509.IPAddress) else n for n in names
    ]


def _leaf(
    key: ec.EllipticCurvePrivateKey,
    root: x509.Certificate,
    root_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.Certificate:
    names = [_general_name(host) for host in _hosts()]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, settings.PUBLIC_HOST[:64])])
    root_identifier = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        _builder(subject, root.subject, key, now, timedelta(days=settings.CERTIFICATE_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_identifier), critical=False
        )
        .sign(root_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER_BY)
        .not_valid_after(now - _CLOCKS_DIFFER_BY + lifetime)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _read_root() -> KeyPair:
    key_file = Path(settings.CERTS_DIR) / "root.key"
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    except FileNotFoundError:
        raise CertificateProblem(
            f"There is no {key_file}: put it back, or run manage.py certs init --new-root, and trust the new root."
        ) from None
    except (ValueError, TypeError):
        raise CertificateProblem(f"{key_file} is not a private key in PEM.") from None
    root = _read_certificate(root_file())
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != root.public_key():
        raise CertificateProblem(f"{key_file} is not the key of {root_file()}.")
    return root, key


def _read_certificate(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())[0]
    except (FileNotFoundError, IsADirectoryError):
        raise CertificateProblem(f"There is no certificate at {file}: run manage.py certs init.") from None
    except PermissionError:
        raise CertificateProblem(f"This user may not read {file}.") from None
    except ValueError:
        raise CertificateProblem(f"{file} is not a certificate in PEM.") from None


def check_files() -> None:
    """That certificate and key are there and belong together. Raises ``CertificateProblem``."""
    _check_pair(files())


def _check_pair(pair: CertificateFiles) -> None:
    """OpenSSL reads both and compares them."""
    if not pair.certificate.is_file() or not pair.key.is_file():
        raise CertificateProblem(f"There is no {pair.certificate} with its key {pair.key}.")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(pair.certificate, pair.key)
    except (ssl.SSLError, OSError):
        raise CertificateProblem(
            f"{pair.key} is not the key of {pair.certificate}, or cannot be read."
        ) from None


def _write_private_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(path, pem, 0o600)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, content: bytes, mode: int) -> None:
    """All of it or nothing, and never readable by others for a moment."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise CertificateProblem(f"{path} cannot be written: {error.strerror}.") from None
