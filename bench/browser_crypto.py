"""Messages that a browser encrypts, and checks and decrypts, each second; bytes of an envelope. Real Chromium.

python -m bench.browser_crypto [--messages 2000]
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import subprocess
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from bench.results import record

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
]


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def build(directory: Path) -> None:
    subprocess.run(
        [
            ROOT / "client/node_modules/.bin/esbuild",
            "bench/browser/crypto_bench.ts",
            "--bundle",
            "--minify",
            "--format=esm",
            "--log-level=warning",
            f"--outfile={directory}/bench.js",
        ],
        cwd=ROOT,
        check=True,
    )
    page = '<!doctype html><title>bench</title><script type="module" src="bench.js"></script>'
    (directory / "index.html").write_text(page, encoding="utf-8")


def measure(directory: Path, messages: int, rounds: int = 3) -> dict[str, Any]:
    handler = functools.partial(_QuietHandler, directory=str(directory))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)
        page = browser.new_page()
        page.goto(f"http://localhost:{server.server_port}/")
        page.wait_for_function("window.runCryptoBench")
        page.evaluate("runCryptoBench(200)")
        answers = [page.evaluate("n => runCryptoBench(n)", messages) for _ in range(rounds)]
        version = browser.version
        browser.close()
    server.shutdown()
    median = {name: sorted(answer[name] for answer in answers)[rounds // 2] for name in answers[0]}
    return {**median, "chromium": version}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=2000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        build(Path(directory))
        record(
            "browser_crypto",
            measure(Path(directory), arguments.messages),
            command="python -m bench.browser_crypto",
        )


if __name__ == "__main__":
    main()
