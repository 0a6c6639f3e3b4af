"""Settings, their list, the deployment check, and floors under the dependencies."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from django.utils.version import get_version_tuple

from securechat.serving.server import bind

GIVES_UP_SECONDS = 30
ROOT = Path(__file__).resolve().parents[2]


def test_the_list_of_variables_is_complete() -> None:
    read = re.findall(r'\benv(?:\.\w+)?\(\s*"([A-Z_]+)"', (ROOT / "securechat" / "settings.py").read_text())
    listed = re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE)

    assert sorted(listed) == sorted(set(read))


def test_the_deployment_check_finds_nothing() -> None:
    check = manage("check", "--deploy", "--fail-level", "WARNING", PUBLIC_ORIGIN="https://chat.example")

    assert check.returncode == 0, check.stderr
    assert "no issues" in check.stdout


def test_nothing_starts_without_a_secret_key() -> None:
    check = manage("check", SECRET_KEY=None)

    assert check.returncode != 0
    assert "SECRET_KEY" in check.stderr


def test_a_postgresql_that_says_nothing_is_given_up() -> None:
    """It takes connections, as a hung one or a proxy before a dead one does."""
    with bind("127.0.0.1", 0) as silent:
        silent.listen()
        url = f"postgres://somebody@127.0.0.1:{silent.getsockname()[1]}/securechat"
        began = time.monotonic()

        asked = manage("showmigrations", DATABASE_URL=url)

    assert asked.returncode != 0
    assert "timeout expired" in asked.stderr
    assert time.monotonic() - began < GIVES_UP_SECONDS


@pytest.mark.parametrize(
    ("package", "floor"),
    [
        ("django", "5.2.19"),
        ("daphne", "4.2.3"),
        ("autobahn", "26.10.1"),
        ("twisted", "26.4"),
        ("cryptography", "50"),
    ],
)
def test_no_dependency_is_older_than_the_fix_for_a_known_hole(package: str, floor: str) -> None:
    assert get_version_tuple(version(package)) >= get_version_tuple(floor)


def manage(*arguments: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    variables = {
        "PATH": os.environ["PATH"],
        "ENV_FILE": os.devnull,
        "SECRET_KEY": "only-for-this-test-0123456789-abcdefghijklmnopqrstuvwxyz",
        **changes,
    }
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={name: value for name, value in variables.items() if value is not None},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
