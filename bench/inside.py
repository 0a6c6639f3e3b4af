"""A bench whose work is done without a server, in a process of its own that has one database."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.live_server import ROOT, LiveServer


def figures_of(module: str, folder: Path, settings: Mapping[str, str]) -> dict[str, Any]:
    """What ``python -m <module> --inside`` prints, with the same arguments, beside keys, certificates and tables in ``folder``."""
    server = LiveServer(folder, port=1, public_port=1, settings=settings)
    server.prepare()
    made = subprocess.run(
        [sys.executable, "-m", module, "--inside", *sys.argv[1:]],
        cwd=ROOT,
        env=server.environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    figures: dict[str, Any] = json.loads(made.stdout)
    return figures
