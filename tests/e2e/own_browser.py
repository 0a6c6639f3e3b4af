"""A browser of its own process and profile, so that it can die as browsers die."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from playwright.sync_api import BrowserType

from tests.e2e.person import Person

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class OwnBrowser:
    def __init__(
        self, browser_type: BrowserType, options: dict[str, object], profile: Path, origin: str
    ) -> None:
        self._browser_type, self._options, self._profile, self._origin = (
            browser_type,
            options,
            profile,
            origin,
        )

    def start(self, name: str) -> Person:
        context = self._browser_type.launch_persistent_context(
            self._profile,
            ignore_https_errors=True,
            base_url=self._origin,
            args=CHROMIUM_ARGUMENTS,
            **{key: value for key, value in self._options.items() if key == "executable_path"},  # type: ignore[arg-type]
        )
        context.set_default_timeout(20_000)
        return Person(context, context.pages[0], self._origin, name, "Passw0rd!")

    def kill(self) -> None:
        """SIGKILL for every process of the profile; nothing is written down any more."""
        wanted = str(self._profile).encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
            except (OSError, ProcessLookupError):
                continue
