"""The fingerprints of released builds, as docs/builds.md lists them in this server's copy of the project."""

from __future__ import annotations

import re
from pathlib import Path

from django.conf import settings

_ROW = re.compile(
    r"^\| *(?P<version>[0-9][\w.+-]*) *\|[^|]*\| *`(?P<fingerprint>[0-9a-f]{64})` *\|", re.MULTILINE
)


def builds_page() -> Path:
    return Path(settings.BASE_DIR) / "docs" / "builds.md"


def published_fingerprint(version: str, page: Path | None = None) -> str | None:
    """None for a version that was not released, and where the page is not there."""
    try:
        text = (page or builds_page()).read_text(encoding="utf-8")
    except OSError:
        return None
    rows = {match["version"]: match["fingerprint"] for match in _ROW.finditer(text)}
    return rows.get(version)
