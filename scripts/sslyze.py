"""sslyze for the tests, in an environment of its own below ``var``: what it depends on is older than what the program does."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

from scripts.steps import LOGS, ROOT
from scripts.toolbox import hash_of

_REQUIREMENTS = ROOT / "requirements-sslyze.txt"
_FOLDER = ROOT / "var" / "tools" / "sslyze"
_STAMP = _FOLDER / ".installed"


def find_sslyze() -> Path | None:
    return _FOLDER / "bin" / "sslyze" if _STAMP.exists() else None


def get_sslyze() -> Path | None:
    """Installs it where it is missing or another one; None where that does not work (sslyze.log)."""
    wanted = hash_of([_REQUIREMENTS], "")
    if not (_STAMP.exists() and _STAMP.read_text() == wanted):
        LOGS.mkdir(parents=True, exist_ok=True)
        try:
            venv.EnvBuilder(clear=True, with_pip=True, symlinks=True).create(_FOLDER)
            with (LOGS / "sslyze.log").open("wb") as log:
                subprocess.run(_pip_command(), stdout=log, stderr=subprocess.STDOUT, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        _STAMP.write_text(wanted)
    return find_sslyze()


def _pip_command() -> list[str]:
    """sslyze itself, pure Python, comes as source only; all that it depends on is ready-made."""
    options = ["--disable-pip-version-check", "--only-binary", ":all:", "--no-binary", "sslyze"]
    return [str(_FOLDER / "bin" / "python"), "-m", "pip", "install", *options, "-r", str(_REQUIREMENTS)]
