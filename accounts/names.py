"""Names of people: ASCII letters and digits, kept as typed, compared without case."""

from __future__ import annotations

import re

from django.conf import settings

_ALPHANUMERIC = re.compile(r"[A-Za-z0-9]*", re.ASCII)


def fold(name: str) -> str:
    """The form that is compared, signed and hashed. Only valid names have one that means somebody."""
    return name.lower()


def is_alphanumeric(name: str) -> bool:
    return _ALPHANUMERIC.fullmatch(name) is not None


def is_valid(name: str) -> bool:
    return is_alphanumeric(name) and settings.USERNAME_MIN_LENGTH <= len(name) <= settings.USERNAME_MAX_LENGTH
