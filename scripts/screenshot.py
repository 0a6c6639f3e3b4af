"""Makes the picture in the README: two people talk on a server started for it. Needs what `make test` installs.

.venv/bin/python scripts/screenshot.py
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from playwright.sync_api import expect, sync_playwright

from tests.e2e.own_browser import CHROMIUM_ARGUMENTS
from tests.e2e.person import Person
from tests.live_server import ROOT, live_server

IMAGES = ROOT / "docs" / "images"
LINES = [
    (0, "Did you get home before the rain?"),
    (1, "Just. Soaked to the ankles, no further."),
    (1, "The allotment looks splendid, though. Come and see it on Sunday?"),
    (0, "Gladly. I will bring the seedlings and your book."),
    (1, "Then there will be cake. Eleven, at the gate."),
]


def main() -> None:
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with (
        tempfile.TemporaryDirectory() as directory,
        live_server(Path(directory)) as server,
        sync_playwright() as tool,
    ):
        browser = tool.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)
        people = [
            Person.in_new_context(
                browser,
                server.origin,
                name=name,
                password="Passw0rd!",
                viewport={"width": 1280, "height": 800},
            )
            for name in ("Marlene", "Jonas", "Amira")
        ]
        marlene, jonas, amira = people
        for person in people:
            person.sign_up()
        amira.befriend(marlene)
        marlene.befriend(jonas)
        amira.open_chat(marlene)
        amira.send(marlene, "The tickets are here!")
        amira.expect_sent(marlene, "The tickets are here!")
        jonas.open_chat(marlene)
        marlene.open_chat(jonas)
        for who, text in LINES:
            writer, reader = (marlene, jonas) if who == 0 else (jonas, marlene)
            writer.send(reader, text)
            reader.expect_message(writer, text)
        expect(marlene.message(jonas, LINES[3][1])).to_contain_text("Delivered")
        marlene.page.mouse.move(0, 0)
        marlene.screenshot(IMAGES / "chat.png")
        marlene.page.emulate_media(color_scheme="dark")
        marlene.page.set_viewport_size({"width": 390, "height": 800})
        marlene.screenshot(IMAGES / "chat-phone-dark.png")
        browser.close()
    print(f"Wrote {IMAGES}/chat.png and chat-phone-dark.png")


if __name__ == "__main__":
    main()
