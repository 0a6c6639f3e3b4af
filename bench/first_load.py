"""First load of each page and opening a chat on a cold cache: requests and bytes over the wire. Real server, real Chromium.

python -m bench.first_load
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from bench.results import record
from tests.e2e.own_browser import CHROMIUM_ARGUMENTS
from tests.e2e.person import Person
from tests.live_server import live_server


def load(page: Page, url: str) -> dict[str, int]:
    """What one load fetches with an empty cache: compressed bytes with headers, as Chromium counts them."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.clearBrowserCache")
    requests: list[float] = []
    session.on("Network.loadingFinished", lambda event: requests.append(event["encodedDataLength"]))
    page.goto(url)
    page.wait_for_timeout(1500)
    session.detach()
    return {"requests": len(requests), "bytes": round(sum(requests))}


def measure(browser: Browser, origin: str) -> dict[str, Any]:
    alice, bob = (
        Person.in_new_context(browser, origin, name=name, password="Passw0rd!")
        for name in ("Alice1", "Bobby1")
    )
    figures = {"landing": load(alice.page, "/"), "sign_up": load(alice.page, "/sign-up/")}
    for person in (alice, bob):
        person.sign_up()
    alice.befriend(bob)
    figures["start"] = load(alice.page, "/")
    figures["friends"] = load(alice.page, "/friends/")
    alice.open_chat(bob)
    alice.send(bob, "Hello")
    alice.expect_message(bob, "Hello")
    figures["chat_open"] = load(alice.page, alice.page.url)
    return figures


def main() -> None:
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with (
        tempfile.TemporaryDirectory() as directory,
        live_server(Path(directory)) as server,
        sync_playwright() as tool,
    ):
        browser = tool.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)
        record("first_load", measure(browser, server.origin), command="python -m bench.first_load")
        browser.close()


if __name__ == "__main__":
    main()
