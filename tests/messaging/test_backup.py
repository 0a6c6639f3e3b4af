"""`manage.py backup` and `restore`: what comes back is what was there, and whatever else somebody hands in is refused."""

from __future__ import annotations

import base64
import io
import json
import os
import resource
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import cbor2
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

import securechat
from accounts.models import BrowserSession, User
from messaging import presence
from messaging.models import Conversation, Envelope
from securechat import audit, sealed
from securechat.audit import AuditEvent
from securechat.backup import encryption
from securechat.backup.archive import LEFT_OUT
from securechat.backup.encryption import DecryptingReader, DoesNotOpen, EncryptingWriter, Secret
from securechat.redis import async_client
from tests import audit_trail, factories

pytestmark = pytest.mark.django_db(transaction=True)
CHUNK = encryption.CHUNK_BYTES + encryption.TAG_BYTES
NOT_RESTORED, NOT_GOOD, KEYS_DO_NOT_FIT, OTHER_VERSION = 1, 3, 4, 5
CANARY = "Canary_in_an_audit_event"
PASS_PHRASE = "correct horse battery staple"


@pytest.fixture(autouse=True)
def folder(settings: Settings, tmp_path: Path) -> Path:
    """Of this test's own keys and certificates."""
    settings.KEYS_FILE = str(tmp_path / "keys.json")
    settings.CERTS_DIR = str(tmp_path / "certs")
    settings.ENV_FILE = str(tmp_path / "env")
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "root.key").write_text("Canary_in_a_certificates_key")
    (tmp_path / "env").write_text("SECRET_KEY=Canary_in_the_environment\n")
    sealed.write_key_file(sealed.new_key_ring(), tmp_path / "keys.json")
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups"


@pytest.fixture
def people(folder: Path) -> tuple[User, User]:
    """With keys, a conversation of some length, a trail, and an account that is gone again."""
    alice, bob = factories.make_user("Alice1"), factories.make_user("Bobby")
    friendship = factories.befriend(alice, bob)
    conversation = Conversation.of(friendship.public_id)
    conversation.last_n = 8
    conversation.save()
    for n in range(1, 9):
        Envelope.objects.create(
            conversation=conversation,
            n=n,
            side=n % 2,
            client_id=uuid4(),
            epoch=1,
            writer=bytes(16),
            writer_seq=n,
            envelope=os.urandom(40_000),
            envelope_hash=os.urandom(32),
            log_hash=os.urandom(32),
            stored_at=timezone.now(),
        )
    audit.record("user.warn", by=None, on=f"user:{alice.pk}", why=CANARY, source="command:sanction")
    factories.make_user("Gone01").delete()
    return alice, bob


@pytest.fixture
def key(folder: Path) -> Path:
    path = folder.parent / "backup.key"
    path.write_bytes(Secret.new().as_key_file())
    return path


@pytest.fixture
def archive(people: object, folder: Path, key: Path) -> Path:
    return back_up(folder / "one.scb", key)


def run(*arguments: object, stderr: io.StringIO | None = None) -> str:
    out = io.StringIO()
    call_command(*map(str, arguments), stdout=out, stderr=stderr or io.StringIO())
    return out.getvalue()


def back_up(path: Path, key: Path, *arguments: object, stderr: io.StringIO | None = None) -> Path:
    run("backup", path, "--key-file", key, *arguments, stderr=stderr)
    return path


def restore(path: Path, key: Path, *arguments: object, stderr: io.StringIO | None = None) -> str:
    return run("restore", path, "--key-file", key, *arguments, stderr=stderr)


def replace(path: Path, key: Path, *arguments: object) -> str:
    return restore(path, key, "--replace", "--no-input", *arguments)


@contextmanager
def refused(code: int, match: str | None = None) -> Iterator[None]:
    """With that exit code, and nothing changed."""
    before = stored()
    with pytest.raises(CommandError, match=match) as refusal:
        yield
    assert refusal.value.returncode == code, str(refusal.value)
    assert stored() == before


def stored(*, but: frozenset[str] = frozenset()) -> Mapping[str, list[tuple[Any, ...]]]:
    """Every row of every table, as it lies there."""
    tables = set(connection.introspection.table_names()) - {"django_migrations"} - but
    found = {}
    with connection.cursor() as cursor:
        for table in sorted(tables):
            cursor.execute(f"SELECT * FROM {table} ORDER BY 1")  # noqa: S608 - our own tables' names
            found[table] = [tuple(map(_plain, row)) for row in cursor.fetchall()]
    return found


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def records_of(archive: Path, key: Path) -> list[Any]:
    """What is inside, opened."""
    with archive.open("rb") as file:
        source = DecryptingReader(file, Secret.of_key_file(key))
        found = [cbor2.loads(source.read(int.from_bytes(source.read(4), "big")))]
        while found[-1] != {"complete": True}:
            found.append(cbor2.loads(source.read(int.from_bytes(source.read(4), "big"))))
        source.expect_end()
    return found


def sealed_again(records: list[Any], path: Path, key: Path) -> Path:
    """By somebody who has the key."""
    with path.open("wb") as file:
        out = EncryptingWriter(file.write, Secret.of_key_file(key))
        for record in records:
            encoded = cbor2.dumps(record)
            out.write(len(encoded).to_bytes(4, "big") + encoded)
        out.finish()
    return path


class Interrupting(io.StringIO):
    """A terminal at which something happens when a line begins so, for the ``nth`` time."""

    def __init__(self, beginning: str, then: Callable[[], object], *, nth: int = 1) -> None:
        super().__init__()
        self._beginning, self._then, self._left = beginning, then, nth

    def write(self, text: str) -> int:
        if self._beginning in text:
            self._left -= 1
            if self._left == 0:
                self._then()
        return super().write(text)


# There and back


def test_what_is_restored_is_what_was_there_and_everybody_is_signed_out(
    people: tuple[User, User], folder: Path, key: Path
) -> None:
    client = factories.client_of(people[0])
    assert client.get("/friends/").status_code == 200
    without = frozenset({"securechat_auditevent", *LEFT_OUT})
    before, head = stored(but=without), audit.shown_head()
    archive = back_up(folder / "one.scb", key)
    factories.make_user("Later1")
    Envelope.objects.all().delete()

    replace(archive, key)

    assert stored(but=without) == before
    assert stored()["django_session"] == stored()["accounts_browsersession"] == []
    assert client.get("/friends/").status_code == 302
    *_, last, restored = audit.verified()
    assert (f"{last.n}:{last.hash}", restored.action) == (head, "backup.restore")
    assert audit.guards_that_are_off() == []


def test_it_is_restored_into_an_empty_database_without_a_question(
    archive: Path, key: Path, people: object
) -> None:
    before = stored(but=frozenset({"securechat_auditevent"}))
    User.objects.all().delete()

    said = restore(archive, key)

    assert "Restored, and the counts compared." in said
    assert stored(but=frozenset({"securechat_auditevent"})) == before


def test_a_restored_server_gives_no_number_a_second_time(
    archive: Path, key: Path, people: tuple[User, User]
) -> None:
    """The account that was gone before the backup keeps its number to itself: the trail speaks of it."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER SEQUENCE accounts_user_id_seq RESTART")
        else:
            cursor.execute("DELETE FROM sqlite_sequence WHERE name = 'accounts_user'")

    replace(archive, key)

    assert factories.make_user("After1").pk == people[1].pk + 2


def test_a_backup_is_of_one_moment_and_holds_up_no_writer(people: object, folder: Path, key: Path) -> None:
    def write_meanwhile() -> None:
        """While the backup's transaction is open: a writer that had to wait would fail here."""
        factories.make_user("During")
        audit.record("user.warn", by=None, on="user:0")

    before, head = stored(but=frozenset({"securechat_auditevent"})), audit.shown_head()
    terminal = Interrupting("accounts_door", write_meanwhile)

    archive = back_up(folder / "one.scb", key, stderr=terminal)

    assert User.objects.filter(username="During").exists()
    assert f"Audit head  {head}" in restore(archive, key, "--verify")
    replace(archive, key)
    assert stored(but=frozenset({"securechat_auditevent"})) == before


async def test_who_was_online_is_forgotten(archive: Path, key: Path, people: tuple[User, User]) -> None:
    alice = people[0].pk
    await presence.renew([presence.connection_key(alice, "tab")])
    await async_client().aclose()
    assert await sync_to_async(presence.is_online)([alice]) == {alice: True}

    await sync_to_async(replace)(archive, key)

    assert await sync_to_async(presence.is_online)([alice]) == {alice: False}


def test_both_commands_are_in_the_trail(archive: Path, key: Path) -> None:
    made = AuditEvent.objects.get(action="backup.make")
    said = json.loads(restore(archive, key, "--verify", "--json"))
    head = audit.shown_head()

    replace(archive, key)

    assert json.loads(made.after)["rows"] == sum(said["rows"].values())
    restored = AuditEvent.objects.get(action="backup.restore")
    assert restored.on == made.on
    assert json.loads(restored.before) == {"audit_head": head, "people": 2}
    assert not AuditEvent.objects.filter(action="backup.make").exists()  # It came after the backup's moment.


def test_verifying_changes_nothing_and_says_what_it_looked_at(archive: Path, key: Path) -> None:
    before = stored()

    said = json.loads(restore(archive, key, "--verify", "--json"))

    assert stored() == before
    assert said["good"]
    assert not said["restored"]
    assert said["rows"] == {
        name: len(rows) - (name == "securechat_auditevent")
        for name, rows in before.items()
        if name not in LEFT_OUT
    }
    assert said["opened_by_the_keys"]["accounts_vault"] == 2
    assert said["opened_by_the_keys"]["friends_friendship"] == 1


def test_a_dry_run_says_what_would_be_lost_and_changes_nothing(archive: Path, key: Path) -> None:
    factories.make_user("Later1")
    before, terminal = stored(), io.StringIO()

    said = restore(archive, key, "--dry-run", stderr=terminal)

    assert stored() == before
    assert "accounts_user: 3 rows; 2" in terminal.getvalue()
    assert "Nothing was changed." in said


# What an archive shows


def test_without_its_key_an_archive_shows_nothing(archive: Path) -> None:
    content = archive.read_bytes()

    assert archive.stat().st_mode & 0o777 == 0o600
    for word in (b"Alice1", b"alice1", b"accounts_user", CANARY.encode(), b"sqlite", b"postgresql"):
        assert word not in content
    assert content[encryption.HEADER_BYTES :].count(b"securechat") == 0


def test_the_servers_keys_are_in_no_archive_and_in_the_file_of_keys_alone(
    people: tuple[User, User], folder: Path, key: Path
) -> None:
    client = factories.client_of(people[0])
    keys = folder / "one.keys"

    archive = back_up(folder / "one.scb", key, "--keys", keys)

    inside = cbor2.dumps(records_of(archive, key))
    assert CANARY.encode() in inside, "What is searched has to be readable, or the search shows nothing."
    ring = sealed.key_ring()
    secrets = [one.secret for purpose in sealed.PURPOSES for one in ring.keys[purpose]]
    spoken = [django_settings.SECRET_KEY, "Canary_in_the_environment", "Canary_in_a_certificates_key"]
    for secret in secrets:
        assert secret not in inside
        assert secret.hex().encode() not in inside
        assert base64.urlsafe_b64encode(secret).rstrip(b"=") not in inside
        assert base64.urlsafe_b64encode(secret).decode() in keys.read_text()
    for word in spoken:
        assert word.encode() not in inside
        assert word in keys.read_text()
    assert client.session.session_key is not None
    assert client.session.session_key.encode() not in inside
    assert keys.stat().st_mode & 0o777 == 0o600


def test_no_file_of_keys_is_written_unasked(archive: Path, folder: Path) -> None:
    assert [path.name for path in folder.iterdir()] == [archive.name]


def test_two_archives_of_the_same_rows_have_nothing_in_common(
    people: object, folder: Path, key: Path
) -> None:
    one, two = (back_up(folder / name, key).read_bytes() for name in ("one.scb", "two.scb"))

    chunks = {one[start : start + 64] for start in range(encryption.HEADER_BYTES, len(one) - 64, 64)}
    assert not chunks & {
        two[start : start + 64] for start in range(encryption.HEADER_BYTES, len(two) - 64, 64)
    }


# What is refused


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def chunks_of(content: bytes) -> tuple[bytes, list[bytes]]:
    header, rest = content[: encryption.HEADER_BYTES], content[encryption.HEADER_BYTES :]
    return header, [rest[start : start + CHUNK] for start in range(0, len(rest), CHUNK)]


def swapped(content: bytes) -> bytes:
    header, (first, second, *others) = chunks_of(content)
    return header + second + first + b"".join(others)


def without_one(content: bytes) -> bytes:
    header, (first, _, *others) = chunks_of(content)
    return header + first + b"".join(others)


def twice(content: bytes) -> bytes:
    header, (first, *others) = chunks_of(content)
    return header + first + first + b"".join(others)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a flipped bit of the name": lambda content: flipped(content, 3),
    "a flipped bit of the kind": lambda content: flipped(content, encryption.HEADER_BYTES - 33),
    "a flipped bit of the salt": lambda content: flipped(content, encryption.HEADER_BYTES - 1),
    "a flipped bit at the beginning": lambda content: flipped(content, encryption.HEADER_BYTES),
    "a flipped bit in the middle": lambda content: flipped(content, len(content) // 2),
    "a flipped bit at the end": lambda content: flipped(content, len(content) - 1),
    "one byte less": lambda content: content[:-1],
    "a chunk less at the end": lambda content: content[: encryption.HEADER_BYTES + 2 * CHUNK],
    "the header alone": lambda content: content[: encryption.HEADER_BYTES],
    "half a header": lambda content: content[:30],
    "nothing": lambda content: b"",
    "something behind it": lambda content: content + b"x",
    "a chunk behind it": lambda content: content + chunks_of(content)[1][-1],
    "two chunks swapped": swapped,
    "a chunk left out": without_one,
    "a chunk twice": twice,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_archive_is_not_good_and_changes_nothing(archive: Path, key: Path, damage: str) -> None:
    content = archive.read_bytes()
    assert len(chunks_of(content)[1]) > 3
    restore(archive, key, "--verify")
    archive.write_bytes(DAMAGES[damage](content))

    with refused(NOT_GOOD):
        restore(archive, key, "--verify")
    with refused(NOT_GOOD):
        replace(archive, key)


def test_every_byte_of_a_small_archive_counts() -> None:
    secret, written = Secret.new(), bytearray()
    out = EncryptingWriter(written.extend, secret)
    out.write(b"0123456789")
    out.finish()

    assert DecryptingReader(io.BytesIO(written), secret).read(10) == b"0123456789"
    for place in range(len(written)):
        with pytest.raises((DoesNotOpen, encryption.UnknownFormat)):
            DecryptingReader(io.BytesIO(flipped(bytes(written), place)), secret).read(10)


@pytest.mark.parametrize("length", [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000])
def test_any_length_comes_back(length: int) -> None:
    secret, written, content = Secret.new(), bytearray(), os.urandom(length)
    out = EncryptingWriter(written.extend, secret)
    for start in range(0, length, 10_000):
        out.write(content[start : start + 10_000])
    out.finish()

    source = DecryptingReader(io.BytesIO(written), secret)

    assert source.read(length) == content
    source.expect_end()


def test_another_key_opens_nothing(archive: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = folder.parent / "other.key"
    other.write_bytes(Secret.new().as_key_file())

    with refused(NOT_GOOD, "not the one of this archive"):
        replace(archive, other)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASS_PHRASE}\n"))
    with refused(NOT_GOOD, "opens with a key file"):
        run("restore", archive, "--pass-phrase", "--replace", "--no-input")


def test_a_pass_phrase_opens_what_it_closed(
    people: object, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = folder / "one.scb"
    monkeypatch.setattr("sys.stdin", io.StringIO("too short\n"))
    with pytest.raises(CommandError, match="at least 16 characters"):
        run("backup", archive, "--pass-phrase")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASS_PHRASE}\n"))
    run("backup", archive, "--pass-phrase")

    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASS_PHRASE}\n"))
    assert "is good" in run("restore", archive, "--verify")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASS_PHRASE}.\n"))
    with refused(NOT_GOOD, "not the one of this archive"):
        run("restore", archive, "--verify")


def test_a_new_key_is_made_once(people: object, folder: Path) -> None:
    key = folder / "backup.key"

    run("backup", folder / "one.scb", "--new-key", key)

    assert key.stat().st_mode & 0o777 == 0o600
    assert "is good" in restore(folder / "one.scb", key, "--verify")
    with pytest.raises(CommandError, match="exists"):
        run("backup", folder / "two.scb", "--new-key", key)
    with pytest.raises(CommandError, match="exists"):
        run("backup", folder / "one.scb", "--key-file", key)
    assert sorted(path.name for path in folder.iterdir()) == ["backup.key", "one.scb"]


def test_a_command_without_a_key_asks_for_one(
    archive: Path, folder: Path, key: Path, settings: Settings
) -> None:
    with pytest.raises(CommandError, match="With which key"):
        run("backup", folder / "two.scb")
    with pytest.raises(CommandError, match="is not a key file"):
        run("backup", folder / "two.scb", "--key-file", archive)

    settings.BACKUP_KEY_FILE = str(key)

    assert "is good" in run("restore", archive, "--verify")


# The server's own keys


def test_without_the_servers_keys_it_is_refused_and_with_their_copy_they_are_put_in_place(
    people: object, folder: Path, key: Path, settings: Settings
) -> None:
    keys, here = folder / "one.keys", folder.parent
    archive = back_up(folder / "one.scb", key, "--keys", keys)
    ring = sealed.key_ring()
    for path in (here / "keys.json", here / "certs" / "root.key", here / "env"):
        path.unlink()

    with refused(KEYS_DO_NOT_FIT, "There is no key file"):
        replace(archive, key)
    restore(archive, key, "--verify", "--keys", keys)
    assert not (here / "keys.json").exists()
    replace(archive, key, "--keys", keys)

    assert sealed.key_ring() == ring
    assert (here / "keys.json").stat().st_mode & 0o777 == 0o600
    assert (here / "certs" / "root.key").read_text() == "Canary_in_a_certificates_key"
    assert (here / "env").read_text() == "SECRET_KEY=Canary_in_the_environment\n"


def test_other_keys_of_the_server_are_seen_and_never_overwritten(
    people: object, folder: Path, key: Path, settings: Settings
) -> None:
    keys = folder / "one.keys"
    archive = back_up(folder / "one.scb", key, "--keys", keys)
    other = sealed.new_key_ring()
    sealed.write_key_file(other, Path(settings.KEYS_FILE))

    with refused(KEYS_DO_NOT_FIT, "do not open"):
        replace(archive, key)
    with refused(KEYS_DO_NOT_FIT, "are not those of the bundle"):
        replace(archive, key, "--keys", keys)

    assert sealed.key_ring() == other
    with refused(KEYS_DO_NOT_FIT, "is not a file of keys"):
        restore(archive, key, "--verify", "--keys", key)


# Archives that were made otherwise


def test_an_archive_of_another_version_is_refused_with_advice(archive: Path, key: Path, folder: Path) -> None:
    manifest, *records = records_of(archive, key)
    newer = {**manifest, "version": "9.9.9", "migrations": [*manifest["migrations"], ["messaging", "0999_x"]]}
    older = {**manifest, "migrations": manifest["migrations"][:-1]}
    unknown = {**manifest, "format": 2}

    for changed, advice in (
        (newer, r"newer program \(9\.9\.9; this one lacks messaging\.0999_x\)\. Install that version"),
        (older, "older program .* then upgrade"),
        (unknown, "newer format"),
    ):
        other = sealed_again([changed, *records], folder / "other.scb", key)
        with refused(OTHER_VERSION, advice):
            restore(other, key, "--verify")
        with refused(OTHER_VERSION, advice):
            replace(other, key)


def test_an_archive_whose_rows_are_not_those_of_its_manifest_is_not_good(
    archive: Path, key: Path, folder: Path
) -> None:
    records = records_of(archive, key)
    ends = [at for at, one in enumerate(records) if isinstance(one, dict) and "sha256" in one]
    with_rows = next(at for at in ends if records[at]["rows"] > 1)

    for changed in (
        [*records[: with_rows - 1], *records[with_rows:]],
        [*records[: with_rows - 2], records[with_rows - 1], records[with_rows - 2], *records[with_rows:]],
        records[:-1],
        [*records, {"complete": True}],
    ):
        with refused(NOT_GOOD):
            replace(sealed_again(changed, folder / "other.scb", key), key)


def test_an_archive_with_a_broken_trail_is_not_good(people: object, key: Path, folder: Path) -> None:
    with audit_trail.unguarded(), connection.cursor() as cursor:
        cursor.execute("UPDATE securechat_auditevent SET why = 'Other.'")

    archive = back_up(folder / "one.scb", key)

    with refused(NOT_GOOD, r"Event 1: it was changed\."):
        restore(archive, key, "--verify")


# Nothing by halves


def test_a_database_with_people_in_it_is_kept(
    archive: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.make_user("Later1")

    with refused(NOT_RESTORED, "There are people in this database"):
        restore(archive, key)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with refused(NOT_RESTORED, "Nothing was changed"):
        restore(archive, key, "--replace")
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    with refused(NOT_RESTORED, "Nothing was changed"):
        restore(archive, key, "--replace")
    monkeypatch.setattr("sys.stdin", io.StringIO("replace\n"))
    restore(archive, key, "--replace")

    assert User.objects.count() == 2


class Killed(BaseException):
    """As if by a signal."""


@pytest.mark.parametrize("table", ["accounts_door", "messaging_envelope", "securechat_auditevent"])
def test_a_restore_that_is_interrupted_changes_nothing(archive: Path, key: Path, table: str) -> None:
    def kill() -> None:
        assert not User.objects.filter(username="Later1").exists(), "It is at work already."
        raise Killed

    factories.make_user("Later1")
    before = stored()
    terminal = Interrupting(f"{table}: ", kill, nth=3)  # What would be lost, verified, stored.

    with pytest.raises(Killed):
        restore(archive, key, "--replace", "--no-input", stderr=terminal)

    assert stored() == before
    assert audit.guards_that_are_off() == []


@contextmanager
def full_disk(at: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_on_a_full_disk_nothing_is_left(people: object, folder: Path, key: Path) -> None:
    with full_disk(100_000), refused(1, "No backup was made: File too large"):
        back_up(folder / "one.scb", key, "--keys", folder / "one.keys")

    assert list(folder.iterdir()) == []


def test_a_backup_that_is_ended_leaves_nothing(people: object, folder: Path, key: Path) -> None:
    terminal = Interrupting("accounts_door", lambda: os.kill(os.getpid(), signal.SIGTERM))

    with pytest.raises(SystemExit) as ended:
        back_up(folder / "one.scb", key, "--keys", folder / "one.keys", stderr=terminal)

    assert ended.value.code == 128 + signal.SIGTERM
    assert list(folder.iterdir()) == []
    assert not AuditEvent.objects.filter(action="backup.make").exists()


def test_a_database_of_another_version_is_neither_backed_up_nor_restored_into(
    archive: Path, folder: Path, key: Path
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('messaging', '0999_x', %s)",
            ["2090-01-01"],
        )
    try:
        with refused(1, "manage.py migrate"):
            back_up(folder / "two.scb", key)
        with refused(NOT_RESTORED, "manage.py migrate"):
            replace(archive, key)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE name = '0999_x'")

    assert [path.name for path in folder.iterdir()] == [archive.name]


def test_the_version_is_the_same_everywhere() -> None:
    root = Path(django_settings.BASE_DIR)

    assert f'version = "{securechat.__version__}"' in (root / "pyproject.toml").read_text()
    package = json.loads((root / "client" / "package.json").read_text())
    assert package["version"] == securechat.__version__


def test_sessions_are_in_no_archive(people: tuple[User, User], folder: Path, key: Path) -> None:
    assert factories.client_of(people[0]).get("/friends/").status_code == 200
    assert BrowserSession.objects.exists()
    archive = back_up(folder / "one.scb", key)

    tables = records_of(archive, key)[0]["tables"]

    assert "django_session" not in tables
    assert "accounts_browsersession" not in tables
    assert Client().get("/friends/").status_code == 302
