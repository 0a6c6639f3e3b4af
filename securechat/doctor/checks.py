"""Each thing that the doctor looks at, in the order in which one would mend it.

A check yields what it found. It changes nothing, and what it cannot look at it says instead of leaving it out.
"""

from __future__ import annotations

import http.client
import importlib.metadata
import os
import re
import resource
import shutil
import socket
import sqlite3
import ssl
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import redis
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.db import DatabaseError, connection
from django.utils import timezone

from securechat import asset_check, assets, audit, certificates, health, sealed, sealed_columns
from securechat.certificates import CertificateProblem
from securechat.checks import check_keys_open_what_is_stored
from securechat.doctor.finding import Finding, State
from securechat.redis import client
from securechat.serving.valkey import ValkeyUnavailable, binary

OLDEST_PYTHON = (3, 11)
OLDEST_POSTGRESQL = 14_00_00
LEAST_FREE_BYTES, LITTLE_FREE_BYTES = 256 * 2**20, 2 * 2**30
END_IS_NEAR = timedelta(days=14)
_CLOCK_TOLERANCE = timedelta(minutes=5)
_QUICK_CHECK_BYTES = 2**30  # Of a larger database the check would take minutes.
_CONNECTIONS_OF_A_PROCESS = 20  # To the database, amply.
_DESCRIPTORS_BESIDE_SOCKETS = 500
_ANSWER_SECONDS = 5.0
_NAME = re.compile(r"^\s*(?:export\s+)?([A-Z][A-Z0-9_]*)\s*=", re.MULTILINE)
_LISTED = re.compile(r"^#?([A-Z][A-Z0-9_]*)=", re.MULTILINE)

Look = Callable[[], Iterator[Finding]]


def examine() -> Iterator[Finding]:
    """One after the other. What depends on a database that does not answer is skipped, and says so."""
    database_is_there = True
    for name, look, needs_database in CHECKS:
        if needs_database and not database_is_there:
            yield Finding(name, State.SKIPPED, "Not looked at, as the database does not answer.")
            continue
        for finding in _found(name, look):
            yield finding
            if look is _database and finding.state == State.FAILURE:
                database_is_there = False


def _found(name: str, look: Look) -> Iterator[Finding]:
    try:
        yield from look()
    except Exception as error:  # One that breaks must not keep the others from being made.
        yield Finding(
            name,
            State.FAILURE,
            f"It could not be looked at: {type(error).__name__}: {error}",
            "See the reason.",
        )


# The program


def _python() -> Iterator[Finding]:
    shown = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        yield _fail("python", f"This is Python {shown}.", "Install Python 3.11 or newer, then: make build")
    else:
        yield _ok("python", f"{shown}")


def _packages() -> Iterator[Finding]:
    wrong = []
    for line in (settings.BASE_DIR / "requirements.txt").read_text().splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^;\s]+)", line):
            name, wanted = match.groups()
            try:
                found = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                if ";" not in line:  # Not for every machine.
                    wrong.append(f"{name} is missing")
                continue
            if found != wanted:
                wrong.append(f"{name} is {found}, not {wanted}")
    if wrong:
        yield _fail("packages", f"{_some(wrong)}.", "make build installs what requirements.txt says.")
    else:
        yield _ok("packages", "As requirements.txt says.")


def _environment() -> Iterator[Finding]:
    path = Path(settings.ENV_FILE)
    if not path.is_file():
        yield _ok("environment", f"There is no {path}: everything comes from the environment.")
        return
    listed = set(_LISTED.findall((settings.BASE_DIR / ".env.example").read_text()))
    unknown = sorted(set(_NAME.findall(path.read_text())) - listed)
    if unknown:
        yield _warn(
            "environment",
            f"{path} has variables that nothing reads: {_some(unknown)}.",
            ".env.example lists all that there are; correct the spelling.",
        )
    if mode := _open_to_others(path):
        yield _fail(
            "environment",
            f"{path}, which has SECRET_KEY, is readable by others ({mode}).",
            f"chmod 600 {path}",
        )
    elif not unknown:
        yield _ok("environment", f"{path}")


def _deployment() -> Iterator[Finding]:
    """What `manage.py check --deploy` says."""
    asks_for_no_hsts = {"security.W004"} if settings.PUBLIC_HOST == "localhost" else set()
    found = [
        message
        for message in run_checks(include_deployment_checks=True)
        if not message.is_silenced() and message.id not in asks_for_no_hsts
    ]
    for message in found:
        yield _warn("deployment", f"{message.msg} ({message.id})", str(message.hint or "See the sentence."))
    if not found:
        yield _ok("deployment", "Django's check of a deployment finds nothing.")


def _static_files() -> Iterator[Finding]:
    try:
        assets.read_build(assets.collected_manifest())
        manifest = assets.source_manifest() or assets.collected_manifest()
        build = assets.read_build(manifest)
    except assets.BuildMissing as problem:
        yield _fail("assets", str(problem), "make build, then: manage.py collectstatic --noinput")
        return
    differences = list(asset_check.check_disk(build, manifest))
    if differences:
        yield _fail(
            "assets",
            f"{_some([str(one) for one in differences])}.",
            "make build, then: manage.py collectstatic --noinput --clear",
        )
    else:
        yield _ok("assets", f"Build {build.short_fingerprint}, as it was built.")


# What only this server has


def _certificate() -> Iterator[Finding]:
    own = certificates.files().is_own
    again = "Renew it where it came from." if own else "manage.py certs renew"
    try:
        certificates.check_files()
        summary = certificates.show()[-1]
    except CertificateProblem as problem:
        yield _fail("certificate", str(problem), again if own else "manage.py certs init")
        return
    now = datetime.now(UTC)
    host = settings.PUBLIC_HOST.lower()
    if now > summary.not_after:
        yield _fail("certificate", f"It ended on {summary.not_after:%Y-%m-%d}.", again)
    elif now < summary.not_before:
        yield _fail(
            "certificate", f"It begins on {summary.not_before:%Y-%m-%d}.", "Set this computer's clock."
        )
    elif not _is_for(host, summary.hosts):
        hosts = ", ".join(summary.hosts)
        mend = (
            "Get one for that name."
            if own
            else "Put it into CERTIFICATE_HOSTS, then: manage.py certs init --new-root"
        )
        yield _fail("certificate", f"It is for {hosts}, and PUBLIC_ORIGIN is at {host}.", mend)
    elif summary.not_after - now < END_IS_NEAR:
        yield _warn("certificate", f"It ends on {summary.not_after:%Y-%m-%d}.", again)
    else:
        yield _ok("certificate", f"For {host}, until {summary.not_after:%Y-%m-%d}.")


def _is_for(host: str, names: Sequence[str]) -> bool:
    wildcard = f"*.{host.partition('.')[2]}"
    return host.strip("[]") in names or wildcard in names


def _private_files() -> Iterator[Finding]:
    files = [certificates.files().key, Path(settings.CERTS_DIR) / "root.key", Path(settings.KEYS_FILE)]
    opened = [f"{path} ({mode})" for path in files if path.is_file() and (mode := _open_to_others(path))]
    if opened:
        names = " ".join(one.rpartition(" ")[0] for one in opened)
        yield _fail("private files", f"Others may read {_some(opened)}.", f"chmod 600 {names}")
    else:
        yield _ok("private files", "Readable by their owner alone.")


def _keys() -> Iterator[Finding]:
    try:
        ring = sealed.key_ring()
    except (sealed.KeysMissing, sealed.KeysInvalid) as problem:
        yield _fail("keys", str(problem), _mend_keys())
        return
    newest = ", ".join(f"{purpose} {ring.newest(purpose).id}" for purpose in sealed.PURPOSES)
    yield _ok("keys", f"Newest: {newest}.")


def _mend_keys() -> str:
    try:
        has_rows = not _lacks_its_file() and any(True for _ in sealed_columns.in_use())
    except DatabaseError:
        has_rows = True
    return (
        "Put the copy from your backup in its place (restore --keys): new keys open nothing of what is stored."
        if has_rows
        else "A new installation makes them: manage.py init_keys"
    )


def _lacks_its_file() -> bool:
    """Of SQLite, which would make it by being asked."""
    return connection.vendor == "sqlite" and not Path(str(settings.DATABASES["default"]["NAME"])).is_file()


def _origin() -> Iterator[Finding]:
    problems = []
    if not settings.PUBLIC_ORIGIN.startswith("https://"):
        problems.append("it does not begin with https://, and browsers keep keys and cookies for HTTPS alone")
    if settings.PUBLIC_HOST not in settings.ALLOWED_HOSTS and "*" not in settings.ALLOWED_HOSTS:
        problems.append("its host is not in ALLOWED_HOSTS, so every page is refused")
    if problems:
        yield _fail(
            "origin",
            f"PUBLIC_ORIGIN is {settings.PUBLIC_ORIGIN}: {'; '.join(problems)}.",
            "Correct it in ENV_FILE.",
        )
    else:
        yield _ok("origin", f"{settings.PUBLIC_ORIGIN}")


# The machine


def _disk() -> Iterator[Finding]:
    places = {Path(settings.VAR_DIR)}
    if connection.vendor == "sqlite":
        places.add(Path(str(settings.DATABASES["default"]["NAME"])).parent)
    for place in sorted(places):
        if not place.is_dir():
            yield _fail("disk", f"There is no folder {place}.", f"mkdir -p {place}")
            continue
        free = shutil.disk_usage(place).free
        if not os.access(place, os.W_OK):
            yield _fail(
                "disk", f"{place} cannot be written by this user.", f"chown it to the server's user: {place}"
            )
        elif free < LEAST_FREE_BYTES:
            yield _fail(
                "disk", f"{place} has {_size(free)} left.", "Make room: nothing is stored on a full disk."
            )
        elif free < LITTLE_FREE_BYTES:
            yield _warn("disk", f"{place} has {_size(free)} left.", "Make room soon.")
        else:
            yield _ok("disk", f"{place} has {_size(free)} left.")


def _open_files() -> Iterator[Finding]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.MAX_CONNECTIONS + _DESCRIPTORS_BESIDE_SOCKETS
    if settings.MAX_CONNECTIONS and hard != resource.RLIM_INFINITY and hard < wanted:
        yield _warn(
            "open files",
            f"This user may have {hard:,} open, and MAX_CONNECTIONS is {settings.MAX_CONNECTIONS:,}.",
            f"LimitNOFILE={wanted} in the unit, or a lower MAX_CONNECTIONS.",
        )
    else:
        shown = "unlimited" if hard == resource.RLIM_INFINITY else f"{hard:,}"
        yield _ok("open files", f"{shown} for {settings.MAX_CONNECTIONS:,} connections.")


def _port() -> Iterator[Finding]:
    address, port = settings.LISTEN_ADDRESS, settings.LISTEN_PORT
    ours = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - asked of, not bound
    with socket.socket(socket.AF_INET6 if ":" in ours else socket.AF_INET) as probe:
        probe.settimeout(_ANSWER_SECONDS)
        is_taken = probe.connect_ex((ours, port)) == 0
    if not is_taken:
        if port < 1024 and os.geteuid() != 0:
            yield _warn(
                "port",
                f"{port} may need more rights than this user has.",
                "AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, or LISTEN_PORT above 1023.",
            )
        else:
            yield _ok("port", f"{port} is free: the server does not run.")
        return
    if settings.TRUSTED_PROXIES:
        yield _ok("port", f"Something listens on {port}; through the proxy's protocol it is not asked.")
    elif _is_ours(ours, port):
        yield _ok("port", f"The server runs on {port}.")
    else:
        yield _fail(
            "port",
            f"{port} is taken by another program.",
            "Stop that program, or set LISTEN_PORT to another port.",
        )


def _is_ours(address: str, port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = (
        False,
        ssl.CERT_NONE,
    )  # It is asked what it is, and told nothing.
    asked = http.client.HTTPSConnection(address, port, timeout=_ANSWER_SECONDS, context=context)
    try:
        asked.request("GET", "/healthz")
        return asked.getresponse().read(100) == b'{"alive": true}'
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()


# The database


def _database() -> Iterator[Finding]:
    name = str(settings.DATABASES["default"]["NAME"])
    if connection.vendor == "sqlite" and not Path(name).is_file():
        yield _fail(
            "database", f"There is no {name}.", "manage.py migrate makes it; or correct DATABASE_URL."
        )
        return
    try:
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                yield from _sqlite(cursor, Path(name))
            else:
                yield from _postgresql(cursor)
    except DatabaseError as error:
        yield _fail(
            "database",
            f"It does not answer: {str(error).strip().splitlines()[0]}",
            "Is it running, and is DATABASE_URL right?",
        )


def _sqlite(cursor: object, path: Path) -> Iterator[Finding]:
    def ask(query: str) -> object:
        cursor.execute(query)  # type: ignore[attr-defined]
        return cursor.fetchone()[0]  # type: ignore[attr-defined]

    if path.stat().st_size < _QUICK_CHECK_BYTES and (said := ask("PRAGMA quick_check(1)")) != "ok":
        yield _fail(
            "database",
            f"{path} is damaged: {said}",
            "Stop the server, keep a copy of the file, and restore the last backup (docs/operations.md).",
        )
        return
    if (mode := ask("PRAGMA journal_mode")) != "wal":
        yield _fail(
            "database",
            f"SQLite's journal mode is {mode}, not WAL: readers and writers wait for each other.",
            "Put VAR_DIR on a disk of this machine: shared folders cannot have WAL.",
        )
        return
    yield _ok("database", f"SQLite {sqlite3.sqlite_version}, {path}, {_size(path.stat().st_size)}.")


def _postgresql(cursor: object) -> Iterator[Finding]:
    def ask(query: str) -> str:
        cursor.execute(query)  # type: ignore[attr-defined]
        return str(cursor.fetchone()[0])  # type: ignore[attr-defined]

    version = int(ask("SHOW server_version_num"))
    if version < OLDEST_POSTGRESQL:
        yield _fail("database", f"PostgreSQL is {ask('SHOW server_version')}.", "Upgrade it to 14 or newer.")
        return
    if ask("SHOW transaction_read_only") == "on":
        yield _fail("database", "PostgreSQL takes no writes.", "DATABASE_URL has to name the primary.")
        return
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        if ask(f"SHOW {name}") == "off":
            yield _fail(
                "database",
                f"PostgreSQL's {name} is off: a message that was acknowledged can be lost.",
                f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();",
            )
            return
    if (most := int(ask("SHOW max_connections"))) < 2 * _CONNECTIONS_OF_A_PROCESS:
        yield _warn(
            "database",
            f"PostgreSQL takes {most} connections.",
            f"max_connections: {_CONNECTIONS_OF_A_PROCESS} for each process of the server, and some more.",
        )
        return
    yield _ok("database", f"PostgreSQL {ask('SHOW server_version')}, writes are durable.")


def _migrations() -> Iterator[Finding]:
    missing = health.missing_migrations()
    if missing:
        yield _fail(
            "migrations", f"The database lacks {len(missing)} of them.", "Back up, then: manage.py migrate"
        )
    else:
        yield _ok("migrations", "All are applied.")


def _stored_keys() -> Iterator[Finding]:
    problems = check_keys_open_what_is_stored(["default"])
    for problem in problems:
        yield _fail("stored keys", problem.msg, str(problem.hint))
    if not problems:
        yield _ok("stored keys", "The server's keys open the oldest and the newest row of each table.")


def _operators() -> Iterator[Finding]:
    people = get_user_model()._default_manager
    count = people.filter(is_superuser=True, is_active=True).count()
    if count:
        yield _ok("operators", f"{count} {'superuser' if count == 1 else 'superusers'}.")
    else:
        yield _warn("operators", "Nobody may do everything in the admin.", "manage.py createsuperuser")


def _audit_trail() -> Iterator[Finding]:
    if off := audit.guards_that_are_off():
        yield _fail(
            "audit trail",
            f"The database does not refuse changes to it any more: {', '.join(off)}.",
            "Somebody switched that off. docs/operations.md, A suspicious operator; then: manage.py audit_verify",
        )
        return
    try:
        head = audit.check_tail()
    except audit.BrokenChain as broken:
        yield _fail(
            "audit trail",
            f"It was changed: {broken}",
            "docs/operations.md, A suspicious operator; manage.py audit_verify checks all of it.",
        )
        return
    yield _ok("audit trail", f"{head:,} events; the last are whole, and the guards are on.")


def _clock() -> Iterator[Finding]:
    head = audit.AuditEvent.objects.head()
    now = timezone.now()
    if head is not None and head.at > now + _CLOCK_TOLERANCE:
        yield _fail(
            "clock",
            f"It is {now:%Y-%m-%d %H:%M} UTC here, and the last event of the trail is of {head.at:%Y-%m-%d %H:%M}.",
            "Set this computer's clock; use NTP.",
        )
    else:
        yield _ok("clock", f"{now:%Y-%m-%d %H:%M} UTC; nothing stored is of later.")


def _redis() -> Iterator[Finding]:
    if not settings.REDIS_URL:
        try:
            yield _ok("redis", f"The server starts a Valkey of its own ({binary().name}).")
        except ValkeyUnavailable as problem:
            yield _fail("redis", str(problem), "Install Redis or Valkey, and set REDIS_URL.")
        return
    try:
        info = client().info()
    except (redis.RedisError, OSError) as error:
        yield _fail(
            "redis",
            f"It does not answer at REDIS_URL: {str(error).splitlines()[0]}",
            "Start it, or correct REDIS_URL. Messages go on without; who is online is unknown.",
        )
        return
    policy = str(info.get("maxmemory_policy", ""))
    if info.get("maxmemory") and policy.startswith("allkeys"):
        yield _warn(
            "redis",
            f"When it is full it forgets anything (maxmemory-policy {policy}), so people seem offline.",
            "CONFIG SET maxmemory-policy volatile-lru",
        )
    else:
        yield _ok("redis", f"{info.get('server_name', 'redis')} {info.get('redis_version', '')}")


CHECKS: tuple[tuple[str, Look, bool], ...] = (
    ("python", _python, False),
    ("packages", _packages, False),
    ("environment", _environment, False),
    ("origin", _origin, False),
    ("deployment", _deployment, False),
    ("assets", _static_files, False),
    ("certificate", _certificate, False),
    ("private files", _private_files, False),
    ("disk", _disk, False),
    ("open files", _open_files, False),
    ("port", _port, False),
    ("redis", _redis, False),
    ("database", _database, False),
    ("keys", _keys, False),
    ("migrations", _migrations, True),
    ("stored keys", _stored_keys, True),
    ("operators", _operators, True),
    ("audit trail", _audit_trail, True),
    ("clock", _clock, True),
)


def _ok(check: str, said: str) -> Finding:
    return Finding(check, State.OK, said)


def _warn(check: str, said: str, mend: str) -> Finding:
    return Finding(check, State.WARNING, said, mend)


def _fail(check: str, said: str, mend: str) -> Finding:
    return Finding(check, State.FAILURE, said, mend)


def _open_to_others(path: Path) -> str:
    """The mode where others than the owner may read it; else empty."""
    mode = stat.S_IMODE(path.stat().st_mode)
    return f"{mode:o}" if mode & 0o077 else ""


def _some(items: Sequence[str], most: int = 3) -> str:
    more = len(items) - most
    return "; ".join(items[:most]) + (f"; and {more} more" if more > 0 else "")


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"
