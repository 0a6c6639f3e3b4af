"""Installs Prosody and ejabberd from Debian's packages, without starting them as services; or says what to do.

python -m bench.peers.install
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = ("prosody", "ejabberd", "erlang-p1-pgsql", "erlang-p1-sqlite3")
_POLICY = Path("/usr/sbin/policy-rc.d")
_NOTHING_STARTS = "#!/bin/sh\nexit 101\n"  # Debian's way to say that no service may be started.


def main() -> None:
    if _all_there():
        print("Prosody and ejabberd are installed.")
        return
    command = f"apt-get install --no-install-recommends {' '.join(PACKAGES)}"
    if shutil.which("apt-get") is None:
        sys.exit("Prosody and ejabberd are measured as Debian packages them: run this on Debian or Ubuntu.")
    if os.geteuid() != 0:
        sys.exit(f"As root, run `{command}`, stop both services, and call `make bench-peers` again.")
    with _no_services():
        subprocess.run(["apt-get", "update", "-q"], check=True)
        subprocess.run([*command.split(), "-y", "-q"], check=True)


def _all_there() -> bool:
    if shutil.which("dpkg") is None:
        return False
    answer = subprocess.run(["dpkg", "-s", *PACKAGES], capture_output=True, check=False)
    return answer.returncode == 0


@contextmanager
def _no_services() -> Iterator[None]:
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text(_NOTHING_STARTS)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


if __name__ == "__main__":
    main()
