"""`make check` without the tests: every tool that reads the code, all of them, before it says what failed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import toolbox
from scripts.steps import ROOT, Steps
from scripts.toolbox import CLIENT, PYTHON, Node

TOOL_ENVIRONMENT = {
    "SECRET_KEY": "only-for-tools-0123456789-abcdefghijklmnopqrstuvwxyz0123456789",
    "ENV_FILE": os.devnull,
    "PUBLIC_ORIGIN": "https://chat.example",
}
BIN = toolbox.VENV / "bin"


def main() -> None:
    node = install()
    failed = [name for name, command, cwd in checks(node) if not _passes(name, command, cwd, node)]
    if failed:
        sys.exit(f"\nNot clean: {', '.join(failed)}")
    print("\nAll clean.")


def install() -> Node:
    os.chdir(ROOT)
    toolbox.check_folder()
    steps = Steps(2)
    with steps.step("Installing the Python packages"):
        toolbox.install_python_packages(development=True)
    with steps.step("Installing the client's packages"):
        node = toolbox.find_node()
        toolbox.install_client_packages(node)
    return node


def checks(node: Node) -> list[tuple[str, list[str], Path]]:
    def client_tool(package: str, *arguments: str) -> list[str]:
        return [str(node.node), str(CLIENT / "node_modules" / package), *arguments]

    python = str(PYTHON)
    return [
        ("ruff format", [python, "-m", "ruff", "format", "--check", "."], ROOT),
        ("ruff", [python, "-m", "ruff", "check", "."], ROOT),
        ("layers", [str(BIN / "lint-imports")], ROOT),
        ("mypy", [python, "-m", "mypy", "."], ROOT),
        ("migrations", [python, "manage.py", "makemigrations", "--check", "--dry-run"], ROOT),
        ("deployment", [python, "manage.py", "check", "--deploy", "--fail-level", "WARNING"], ROOT),
        ("templates", [str(BIN / "djlint"), "templates", "--lint"], ROOT),
        ("tsc", client_tool("typescript/bin/tsc", "--noEmit"), CLIENT),
        ("eslint", client_tool("eslint/bin/eslint.js", "."), CLIENT),
        ("prettier", client_tool("prettier/bin/prettier.cjs", "--check", "."), CLIENT),
    ]


def _passes(name: str, command: list[str], cwd: Path, node: Node) -> bool:
    began = time.monotonic()
    result = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **TOOL_ENVIRONMENT, **node.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(
        f"{'ok  ' if result.returncode == 0 else 'FAIL'} {name}  {time.monotonic() - began:.1f} s", flush=True
    )
    if result.returncode:
        print(result.stdout)
    return result.returncode == 0


if __name__ == "__main__":
    if sys.argv[1:] == ["install"]:
        install()
    else:
        main()
