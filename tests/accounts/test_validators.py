from __future__ import annotations

import pytest
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from accounts.models import User
from accounts.names import fold, is_valid
from accounts.validators import longest_run, password_rules, username_rules, validate_username

GOOD = "Tr0ub4dor&3"


def broken_by(password: str, name: str = "Alice1") -> list[str]:
    try:
        validate_password(password, User(username=name))
    except ValidationError as refused:
        return [str(error.code) for error in refused.error_list]
    return []


def texts_of(password: str) -> list[str]:
    with pytest.raises(ValidationError) as refused:
        validate_password(password, User(username="Alice1"))
    return refused.value.messages


def test_a_password_that_keeps_every_rule_is_accepted() -> None:
    assert broken_by(GOOD) == []


@pytest.mark.parametrize(
    ("password", "message"),
    [
        ("Tr0&bdo", "Use at least 8 characters."),
        ("Tr0ub4dor&3Tr0ub4dor&", "Use at most 20 characters."),
        ("TR0UB4DOR&3", "Use a lower-case letter."),
        ("tr0ub4dor&3", "Use an upper-case letter."),
        ("Troubador&e", "Use a number."),
        ("Tr0ub4dor13", "Use a symbol."),
        ("Tr0&aaaa", "Use no more than 3 repeating or consecutive characters in a row."),
        ("Tr0&abcd", "Use no more than 3 repeating or consecutive characters in a row."),
        ("Tr&x4321", "Use no more than 3 repeating or consecutive characters in a row."),
        ("ak1:Tr0ub4dor", "A password cannot begin with ak1:"),
    ],
)
def test_each_broken_rule_of_a_password_has_its_own_message(password: str, message: str) -> None:
    assert texts_of(password) == [message]


def test_several_broken_rules_are_all_named() -> None:
    assert texts_of("abcd") == [
        "Use at least 8 characters.",
        "Use an upper-case letter.",
        "Use a number.",
        "Use a symbol.",
        "Use no more than 3 repeating or consecutive characters in a row.",
    ]


@pytest.mark.parametrize("password", ["Tr0&aaab", "Tr0&abce", "Tr&x4329", "Aa1!Aa1!"])
def test_a_run_of_three_is_fine(password: str) -> None:
    assert "run" not in broken_by(password)


@pytest.mark.parametrize(
    ("text", "length"),
    [("", 0), ("a", 1), ("az", 1), ("aaaa", 4), ("abcd", 4), ("4321", 4), ("aabbcc", 2), ("abccba", 3)],
)
def test_a_run_keeps_its_direction(text: str, length: int) -> None:
    assert longest_run(text) == length


def test_spaces_are_no_symbols() -> None:
    assert "contains" in broken_by("Tr0ub4dor 3")


def test_the_password_must_not_be_the_username_in_any_case() -> None:
    assert "not_username" in broken_by("aLICE1", name="Alice1")


def test_a_longer_limit_is_told_to_the_browser_too(settings: object) -> None:
    settings.PASSWORD_MAX_LENGTH = 64  # type: ignore[attr-defined]

    assert broken_by(GOOD * 4) == []
    assert {"kind": "max_length", "max": 64, "text": "Use at most 64 characters."} in password_rules()


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        ("Test", ["Use at least 5 characters."]),
        ("a" * 31, ["Use at most 30 characters."]),
        ("Test 01", ["Use letters and numbers only, no spaces or symbols."]),
        ("Tést01", ["Use letters and numbers only, no spaces or symbols."]),
        ("Test01\n", ["Use letters and numbers only, no spaces or symbols."]),
        ("T-1", ["Use at least 5 characters.", "Use letters and numbers only, no spaces or symbols."]),
    ],
)
def test_each_broken_rule_of_a_name_has_its_own_message(name: str, messages: list[str]) -> None:
    with pytest.raises(ValidationError) as refused:
        validate_username(name)

    assert refused.value.messages == messages
    assert not is_valid(name)


def test_a_name_is_compared_without_case() -> None:
    assert is_valid("Test01")
    assert fold("Test01") == fold("tEST01")


def test_every_kind_of_rule_is_one_that_the_browser_knows() -> None:
    known = {"min_length", "max_length", "contains", "run", "not_username", "alphanumeric"}

    assert {rule["kind"] for rule in [*password_rules(), *username_rules()]} == known
    assert all(rule["text"].endswith(".") for rule in [*password_rules(), *username_rules()])
