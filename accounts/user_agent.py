"""What a browser says that it is, in a few words for its person: "Firefox on Windows". Anybody can say anything here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

UNKNOWN = "Unknown browser"
_Marks: TypeAlias = tuple[tuple[str, str], ...]

# The first mark that is found counts: most browsers also name those that they want to be taken for.
_BROWSERS: _Marks = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("HeadlessChrome/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_BRANDS: _Marks = (
    ("Microsoft Edge", "Edge"),
    ("Opera", "Opera"),
    ("Brave", "Brave"),
    ("Vivaldi", "Vivaldi"),
    ("Google Chrome", "Chrome"),
    ("Chromium", "Chromium"),
)
_SYSTEMS: _Marks = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
)


def describe(headers: Mapping[str, str]) -> str:
    """From ``user-agent`` and, as Chrome and Chromium look alike there, ``sec-ch-ua``. The words are all ours."""
    user_agent = headers.get("user-agent", "")
    browser = _first(_BRANDS, headers.get("sec-ch-ua", "")) or _first(_BROWSERS, user_agent)
    system = _first(_SYSTEMS, user_agent)
    if system is None:
        return browser or UNKNOWN
    return f"{browser or UNKNOWN} on {system}"


def _first(marks: _Marks, text: str) -> str | None:
    return next((name for mark, name in marks if mark in text), None)
