"""The server's keys: made once, never anew beside old rows, and checked against what is stored."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from accounts.models import User
from friends.models import Friendship
from securechat import sealed
from tests import factories


@pytest.fixture
def key_file(settings: Settings, tmp_path: Path) -> Path:
    settings.KEYS_FILE = str(tmp_path / "deeper" / "keys.json")
    return Path(settings.KEYS_FILE)


def init_keys() -> str:
    out = io.StringIO()
    call_command("init_keys", stdout=out)
    return out.getvalue()


def complaints() -> list[str | None]:
    found = run_checks(tags=["security"], databases=["default"])
    return [message.id for message in found if (message.id or "").startswith("securechat.E")]


@pytest.mark.django_db
def test_a_new_server_gets_its_keys(key_file: Path) -> None:
    assert str(key_file) in init_keys()

    assert key_file.stat().st_mode & 0o777 == 0o600
    assert sealed.decrypt_name(sealed.encrypt_name("Test01")) == "Test01"


@pytest.mark.django_db
def test_keys_that_are_there_stay(key_file: Path) -> None:
    init_keys()
    before = key_file.read_bytes()

    assert "Nothing was changed." in init_keys()
    assert key_file.read_bytes() == before


@pytest.mark.django_db
def test_new_keys_beside_old_rows_are_refused(alice: User, settings: Settings, tmp_path: Path) -> None:
    settings.KEYS_FILE = str(tmp_path / "keys.json")

    with pytest.raises(CommandError, match=r"only the old keys open .*accounts\.User"):
        init_keys()
    assert not Path(settings.KEYS_FILE).exists()


@pytest.mark.django_db
def test_a_damaged_key_file_is_not_replaced(key_file: Path) -> None:
    key_file.parent.mkdir()
    key_file.write_text("{")

    with pytest.raises(CommandError, match="damaged"):
        init_keys()
    assert key_file.read_text() == "{"


@pytest.mark.django_db(transaction=True)
def test_two_starts_at_once_make_one_set_of_keys(key_file: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        said = list(threads.map(lambda _: _init_in_thread(), range(4)))

    assert sum("Nothing was changed." in text for text in said) == 3


def _init_in_thread() -> str:
    from django.db import connection

    try:
        return init_keys()
    finally:
        connection.close()


def test_keys_of_the_environment_need_no_file(key_file: Path, settings: Settings, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    sealed.write_key_file(sealed.new_key_ring(), other)
    settings.SECURECHAT_KEYS = other.read_text()

    assert "SECURECHAT_KEYS" in init_keys()
    assert not key_file.exists()


@pytest.mark.django_db
def test_keys_that_fit_are_no_complaint(alice: User, bob: User) -> None:
    factories.befriend(alice, bob)

    assert complaints() == []


@pytest.mark.django_db
def test_an_empty_database_needs_no_keys(key_file: Path) -> None:
    assert complaints() == []


@pytest.mark.django_db
def test_rows_without_keys_are_an_error(friendship: Friendship, settings: Settings, tmp_path: Path) -> None:
    settings.KEYS_FILE = str(tmp_path / "lost.json")

    assert set(complaints()) == {"securechat.E001"}


@pytest.mark.django_db
def test_damaged_keys_are_an_error(friendship: Friendship, settings: Settings, tmp_path: Path) -> None:
    settings.KEYS_FILE = str(tmp_path / "damaged.json")
    Path(settings.KEYS_FILE).write_text("[]")

    assert set(complaints()) == {"securechat.E002"}


@pytest.mark.django_db
def test_keys_of_another_server_are_an_error(
    friendship: Friendship, settings: Settings, tmp_path: Path
) -> None:
    settings.KEYS_FILE = str(tmp_path / "foreign.json")
    sealed.write_key_file(sealed.new_key_ring(), Path(settings.KEYS_FILE))

    assert complaints() == ["securechat.E003"] * 4


def test_a_replaced_key_file_is_read_again(key_file: Path) -> None:
    sealed.write_key_file(sealed.new_key_ring(), key_file)
    before = sealed.key_ring()

    sealed.write_key_file(sealed.new_key_ring(), key_file)

    assert sealed.key_ring() != before
