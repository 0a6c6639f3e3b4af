from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError

from accounts.hashers import SecureChatPasswordHasher
from accounts.models import User
from accounts.wire import encode_base64url
from securechat import sealed
from tests.factories import PASSWORD, auth_key_for, make_user, make_user_without_keys

KEY = "ak1:" + encode_base64url(bytes(range(32)))


@pytest.fixture
def new_pepper(keys: sealed.KeyRing) -> Iterator[None]:
    """As after ``manage.py rotate_keys``: a second pepper, and the first still there."""
    peppers = (sealed.new_key(2), *keys.keys["pepper"])
    sealed.write_key_file(replace(keys, keys={**keys.keys, "pepper": peppers}), Path(settings.KEYS_FILE))
    yield
    sealed.write_key_file(keys, Path(settings.KEYS_FILE))


def test_the_same_key_hashes_differently_each_time_and_verifies() -> None:
    hasher = SecureChatPasswordHasher()

    first, second = (hasher.encode(KEY, hasher.salt()) for _ in range(2))

    assert first != second
    assert hasher.verify(KEY, first)
    assert hasher.verify(KEY, second)
    assert len(first) <= 128
    assert first.startswith("securechat1$1$")


def test_every_single_flipped_bit_of_the_key_is_refused() -> None:
    hasher = SecureChatPasswordHasher()
    encoded = hasher.encode(KEY, hasher.salt())

    for bit in range(256):
        flipped = bytearray(range(32))
        flipped[bit // 8] ^= 1 << bit % 8
        assert not hasher.verify("ak1:" + encode_base64url(bytes(flipped)), encoded)


@pytest.mark.parametrize(
    "text",
    [
        PASSWORD,
        "",
        "ak1:",
        KEY[:-1],
        KEY + "A",
        KEY + "=",
        KEY.removeprefix("ak1:"),
        "AK1:" + KEY.removeprefix("ak1:"),
        "ak1:" + "-" * 42 + "9",
        "ak1:" + "é" * 43,
        " " + KEY,
        KEY + "\n",
        "ak1:" + base64.b64encode(b"\xff" * 32).decode().rstrip("="),
    ],
)
def test_nothing_but_a_derived_key_in_its_one_form_is_hashed(text: str) -> None:
    hasher = SecureChatPasswordHasher()

    with pytest.raises(ValueError, match="derive"):
        hasher.encode(text, hasher.salt())
    assert not hasher.verify(text, hasher.encode(KEY, hasher.salt()))


def test_a_hash_of_another_pepper_is_worth_nothing(keys: sealed.KeyRing) -> None:
    hasher = SecureChatPasswordHasher()
    encoded = hasher.encode(KEY, hasher.salt())

    assert not hasher.verify(KEY, encoded.replace("securechat1$1$", "securechat1$7$"))


def test_a_new_pepper_is_taken_at_the_next_log_in_and_signs_nobody_out(alice: User, new_pepper: None) -> None:
    key = auth_key_for("Alice1")
    before = alice.get_session_auth_hash()
    assert alice.password.startswith("securechat1$1$")

    assert not alice.check_auth_key(auth_key_for("Alice1", "Wr0ng#One"))
    assert alice.password.startswith("securechat1$1$")
    assert alice.check_auth_key(key)

    alice.refresh_from_db()
    assert alice.password.startswith("securechat1$2$")
    assert alice.check_auth_key(key)
    assert alice.get_session_auth_hash() == before


def test_a_plain_password_is_derived_as_the_browser_does(db: None) -> None:
    user = make_user_without_keys("Alice1")

    assert user.check_password(PASSWORD)
    assert user.check_auth_key(auth_key_for("Alice1"))
    assert not user.check_password("Wr0ng#One")
    assert not user.check_password(None)


def test_the_name_is_folded_before_it_is_stretched_with(db: None) -> None:
    user = make_user_without_keys("Alice1")

    assert user.check_auth_key(auth_key_for("ALICE1"))


def test_a_plain_password_that_looks_derived_is_refused(alice: User) -> None:
    with pytest.raises(ValidationError, match="cannot begin with ak1:"):
        alice.set_password(KEY)
    assert alice.check_password(PASSWORD)


def test_a_new_password_ends_sessions_and_an_unusable_one_lets_nobody_in(alice: User) -> None:
    before = alice.get_session_auth_hash()

    alice.set_password("An0ther#One")
    assert alice.get_session_auth_hash() != before

    alice.set_password(None)
    assert not alice.check_auth_key(auth_key_for("Alice1"))


def test_who_signed_up_keeps_the_salt_of_that_day(keys: sealed.KeyRing, db: None) -> None:
    alice = make_user("Alice1")
    salts = (sealed.Key(2, os.urandom(32)), *keys.keys["client_salt"])
    sealed.write_key_file(replace(keys, keys={**keys.keys, "client_salt": salts}), Path(settings.KEYS_FILE))
    try:
        bob = make_user("Bobby")

        assert alice.check_password(PASSWORD)
        assert bob.check_password(PASSWORD)
        assert alice.client_salt != bob.client_salt
    finally:
        sealed.write_key_file(keys, Path(settings.KEYS_FILE))
