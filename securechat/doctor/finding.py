"""What the doctor says of one thing. Needs neither Django nor settings that can be read."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """``said`` is one sentence about ``check``; ``mend`` says what to do, and is empty where there is nothing to."""

    check: str
    state: State
    said: str
    mend: str = ""


_SHOWN = {State.OK: "ok  ", State.WARNING: "warn", State.FAILURE: "FAIL", State.SKIPPED: "-   "}


def as_text(findings: Sequence[Finding]) -> str:
    lines = []
    for one in findings:
        lines.append(f"{_SHOWN[one.state]}  {one.check:<13} {one.said}")
        if one.mend:
            lines.append(f"{'':<20}To mend: {one.mend}")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding]) -> str:
    has_failed = any(one.state == State.FAILURE for one in findings)
    return json.dumps({"healthy": not has_failed, "findings": [asdict(one) for one in findings]}, indent=1)


def require_settings(arguments: Sequence[str]) -> None:
    """Django would end with a traceback, or say that there is no such command: the doctor says what is wrong."""
    try:
        importlib.import_module(os.environ["DJANGO_SETTINGS_MODULE"])
    except Exception as error:
        said = f"They cannot be read: {error}"
        mend = (
            "Correct that variable in the environment or in ENV_FILE (.env); .env.example lists all of them."
        )
        finding = Finding("settings", State.FAILURE, said, mend)
        print(as_json([finding]) if "--json" in arguments else as_text([finding]))
        sys.exit(1)
