"""Gzipped size of each page's JavaScript and of the style sheet, against the budgets. Needs `make build`.

python -m bench.page_weight
"""

from __future__ import annotations

import gzip
import re
import sys
from pathlib import Path

from bench.results import record

DIST = Path(__file__).resolve().parents[1] / "client" / "dist" / "securechat"
SCRIPT_BUDGET_BYTES = 75_000
STYLE_BUDGET_BYTES = 10_000
# Loaded by every page besides its own script.
SHARED_ENTRIES = {"site.js", "live.js"}
_STATIC_IMPORT = re.compile(r'(?:from|import)\s*"\./([\w-]+\.js)"')


def static_imports(name: str, seen: set[str] | None = None) -> set[str]:
    """The file and what it imports statically, transitively; what it imports on demand does not count."""
    seen = set() if seen is None else seen
    if name not in seen:
        seen.add(name)
        for imported in _STATIC_IMPORT.findall((DIST / name).read_text(encoding="utf-8")):
            static_imports(imported, seen)
    return seen


def gzipped_bytes(name: str) -> int:
    return len(gzip.compress((DIST / name).read_bytes(), 9, mtime=0))


def page_scripts(entry: str) -> set[str]:
    files = static_imports(entry)
    shared = {"site.js"} if entry == "chat.js" else SHARED_ENTRIES
    for name in shared:
        if (DIST / name).exists():
            files |= static_imports(name)
    return files


def main() -> int:
    entries = sorted(
        path.name for path in DIST.glob("*.js") if not path.name.startswith(("chunk-", "argon2-worker"))
    )
    pages = {entry: sum(map(gzipped_bytes, page_scripts(entry))) for entry in entries}
    worker = gzipped_bytes("argon2-worker.js")
    styles = {path.name: gzipped_bytes(path.name) for path in sorted(DIST.glob("*.css"))}
    over = [name for name, size in pages.items() if size > SCRIPT_BUDGET_BYTES]
    over += [name for name, size in styles.items() if size > STYLE_BUDGET_BYTES]
    record(
        "page_weight",
        {
            "script_budget_bytes": SCRIPT_BUDGET_BYTES,
            "style_budget_bytes": STYLE_BUDGET_BYTES,
            "scripts_gzipped_bytes": pages,
            "argon2_worker_gzipped_bytes": worker,
            "styles_gzipped_bytes": styles,
            "over_budget": over,
        },
        command="python -m bench.page_weight",
    )
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
