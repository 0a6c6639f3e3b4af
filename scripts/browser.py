"""Finds a Chromium for the tests, or gets one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from scripts.debian import debian_packages

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WHAT_TO_DO = (
    "There is no Chromium: install one (apt install chromium, or .venv/bin/playwright install chromium), "
    "or name it with CHROMIUM=/path/to/chromium."
)


def find_browser() -> str | None:
    """$CHROMIUM, one in PATH, or the one that Playwright fetched."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named if os.access(named, os.X_OK) else None
    in_path = next((found for name in NAMES if (found := shutil.which(name))), None)
    return in_path or _of_playwright()


def get_browser() -> str | None:
    """Installs Debian's as root where there is none; None where that does not work."""
    found = find_browser()
    if found is None and not os.environ.get("CHROMIUM") and debian_packages("chromium"):
        found = find_browser()
    return found


def _of_playwright() -> str | None:
    folders = [
        os.environ.get("PLAYWRIGHT_BROWSERS_PATH"),
        "~/.cache/ms-playwright",
        "~/Library/Caches/ms-playwright",
    ]
    programs = ("chrome-linux*/chrome", "chrome-mac*/Chromium.app/Contents/MacOS/Chromium")
    for folder in filter(None, folders):
        for program in programs:
            for found in sorted(Path(folder).expanduser().glob(f"chromium-*/{program}"), reverse=True):
                return str(found)
    return None
