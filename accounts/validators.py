"""Every rule for names and passwords, once: checked here for `manage.py`, and sent as data to the browser.

The server never sees a password, so over HTTP only the browser can check its rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol, TypedDict, runtime_checkable

from django.conf import settings
from django.contrib.auth.password_validation import get_default_password_validators
from django.core.exceptions import ValidationError

from accounts.names import is_alphanumeric
from accounts.wire import AUTH_KEY_PREFIX

CharacterClass = Literal["lower", "upper", "digit", "symbol"]


class RuleData(TypedDict, total=False):
    """One rule as the browser gets it; ``client/src/chat/password_rules.ts`` knows each ``kind``."""

    kind: Literal["min_length", "max_length", "contains", "run", "not_username", "alphanumeric"]
    min: int
    max: int
    characters: CharacterClass
    text: str


@runtime_checkable
class PasswordRule(Protocol):
    """A validator that the browser can apply, too."""

    def as_data(self) -> list[RuleData]: ...


def password_rules() -> list[RuleData]:
    """The rules of ``AUTH_PASSWORD_VALIDATORS`` in their order. Validators that are no ``PasswordRule`` stay here."""
    validators = get_default_password_validators()
    return [
        rule
        for validator in validators
        if isinstance(validator, PasswordRule)
        for rule in validator.as_data()
    ]


def username_rules() -> list[RuleData]:
    low, high = settings.USERNAME_MIN_LENGTH, settings.USERNAME_MAX_LENGTH
    return [
        {"kind": "min_length", "min": low, "text": f"Use at least {low} characters."},
        {"kind": "max_length", "max": high, "text": f"Use at most {high} characters."},
        {"kind": "alphanumeric", "text": "Use letters and numbers only, no spaces or symbols."},
    ]


def validate_username(name: str) -> None:
    """Raises ``ValidationError`` with a message for each broken rule."""
    keeps = (
        len(name) >= settings.USERNAME_MIN_LENGTH,
        len(name) <= settings.USERNAME_MAX_LENGTH,
        is_alphanumeric(name),
    )
    _require(zip(username_rules(), keeps, strict=True))


class LengthValidator:
    """Characters, not bytes."""

    def validate(self, password: str, user: object = None) -> None:
        rules = self.as_data()
        keeps = (len(password) >= settings.PASSWORD_MIN_LENGTH, len(password) <= settings.PASSWORD_MAX_LENGTH)
        _require(zip(rules, keeps, strict=True))

    def get_help_text(self) -> str:
        return _text_of(self)

    def as_data(self) -> list[RuleData]:
        low, high = settings.PASSWORD_MIN_LENGTH, settings.PASSWORD_MAX_LENGTH
        return [
            {"kind": "min_length", "min": low, "text": f"Use at least {low} characters."},
            {"kind": "max_length", "max": high, "text": f"Use at most {high} characters."},
        ]


@dataclass(frozen=True)
class _Class:
    name: CharacterClass
    pattern: re.Pattern[str]
    text: str


class CharacterClassesValidator:
    """One of each; letters and digits are ASCII, a symbol is any other character but white space."""

    classes = (
        _Class("lower", re.compile(r"[a-z]"), "Use a lower-case letter."),
        _Class("upper", re.compile(r"[A-Z]"), "Use an upper-case letter."),
        _Class("digit", re.compile(r"[0-9]"), "Use a number."),
        _Class("symbol", re.compile(r"[^A-Za-z0-9\s]"), "Use a symbol."),
    )

    def validate(self, password: str, user: object = None) -> None:
        keeps = [each.pattern.search(password) is not None for each in self.classes]
        _require(zip(self.as_data(), keeps, strict=True))

    def get_help_text(self) -> str:
        return _text_of(self)

    def as_data(self) -> list[RuleData]:
        return [{"kind": "contains", "characters": each.name, "text": each.text} for each in self.classes]


class RunsValidator:
    """No more than ``PASSWORD_MAX_RUN`` characters that repeat or follow each other, up or down."""

    def validate(self, password: str, user: object = None) -> None:
        _require([(self.as_data()[0], longest_run(password) <= settings.PASSWORD_MAX_RUN)])

    def get_help_text(self) -> str:
        return _text_of(self)

    def as_data(self) -> list[RuleData]:
        longest = settings.PASSWORD_MAX_RUN
        text = f"Use no more than {longest} repeating or consecutive characters in a row."
        return [{"kind": "run", "max": longest, "text": text}]


class NotTheUsernameValidator:
    def validate(self, password: str, user: Any = None) -> None:
        name = getattr(user, "username", None)
        _require([(self.as_data()[0], not name or password.lower() != name.lower())])

    def get_help_text(self) -> str:
        return _text_of(self)

    def as_data(self) -> list[RuleData]:
        return [{"kind": "not_username", "text": "Do not use your username as the password."}]


class NotDerivedValidator:
    """A password that looks like what a browser derives would be taken for one. No browser sends one, so it has no data."""

    def validate(self, password: str, user: object = None) -> None:
        if password.startswith(AUTH_KEY_PREFIX):
            raise ValidationError(self.get_help_text(), code="looks_derived")

    def get_help_text(self) -> str:
        return f"A password cannot begin with {AUTH_KEY_PREFIX}"


def longest_run(text: str) -> int:
    """Length of the longest stretch of equal, ascending or descending characters: 4 in ``aaaa``, ``abcd``, ``4321``."""
    longest = length = min(len(text), 1)
    step: int | None = None
    for before, after in pairwise(map(ord, text)):
        if abs(after - before) > 1:
            length, step = 1, None
        else:
            length = length + 1 if after - before == step else 2
            step = after - before
        longest = max(longest, length)
    return longest


def _require(checked: Iterable[tuple[RuleData, bool]]) -> None:
    broken = [ValidationError(rule["text"], code=rule["kind"]) for rule, is_kept in checked if not is_kept]
    if broken:
        raise ValidationError(broken)


def _text_of(rule: PasswordRule) -> str:
    return " ".join(each["text"] for each in rule.as_data())
