"""Programs that tests need and pip does not bring: those that are here, or Debian's packages where root can install them."""

from __future__ import annotations

import os
import shutil
import subprocess

from scripts.steps import LOGS


def get_program(name: str, *, package: str = "") -> str | None:
    """Its path; None where it is neither here nor to be had. ``package`` is called like it unless named."""
    found = shutil.which(name)
    if found is None and debian_packages(package or name):
        found = shutil.which(name)
    return found


def debian_packages(*names: str) -> bool:
    """Installs them without what they recommend; False where nobody may, or where it does not work (apt.log)."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / "apt.log").open("ab") as log:
        return all(
            subprocess.run(
                ["apt-get", *arguments],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
            == 0
            for arguments in (["update"], ["install", "-y", "--no-install-recommends", *names])
        )
