"""What deploy/ holds, as far as it can be tried without systemd as the first process and without Docker."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

from scripts.steps import ROOT

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
INSTALLED = "/opt/securechat"
EXPOSURE_AT_MOST = 20  # Tenths, of systemd's own score of 0 to 10; without any of the protections it is 92.
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
PROCESSES = {name: service for name, service in COMPOSE["services"].items() if name.startswith("process")}
VARIABLES = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))


def name_of(path: Path) -> str:
    return path.name


# systemd


def read(unit: Path) -> ConfigParser:
    parser = ConfigParser(interpolation=None, strict=False, delimiters=["="], comment_prefixes=["#"])
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(unit.read_text(encoding="utf-8"))
    return parser


@pytest.mark.parametrize("unit", SERVICES, ids=name_of)
def test_a_unit_starts_a_command_that_exists(unit: Path) -> None:
    python, script, command, *_ = shlex.split(read(unit)["Service"]["ExecStart"])

    assert (python, script) == (f"{INSTALLED}/.venv/bin/python", "manage.py")
    assert command in get_commands()


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.suffix == ".timer"], ids=name_of)
def test_a_timer_has_its_service(unit: Path) -> None:
    assert unit.with_suffix(".service") in SERVICES


@pytest.mark.parametrize("unit", SERVICES, ids=name_of)
def test_a_unit_gives_up_what_it_does_not_need(unit: Path) -> None:
    service = read(unit)["Service"]

    for name in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "RestrictNamespaces"):
        assert service[name] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["User"] == "securechat"
    assert service["CapabilityBoundingSet"] in ("", "CAP_NET_BIND_SERVICE")


if shutil.which("systemd-analyze"):  # What it says; what is above needs nothing.

    @pytest.fixture(scope="module")
    def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
        """As they would be installed, but for the program, which is not."""
        folder = tmp_path_factory.mktemp("units")
        for unit in UNITS:
            text = unit.read_text(encoding="utf-8").replace(f"{INSTALLED}/.venv/bin/python", "/bin/true")
            (folder / unit.name).write_text(text.replace(INSTALLED, "/"), encoding="utf-8")
        return folder

    def test_systemd_understands_the_units(units: Path) -> None:
        names = [name_of(unit).replace("@.", "@8451.") for unit in UNITS]
        checked = analyze("verify", *(f"./{name}" for name in names), folder=units)

        assert (checked.returncode, checked.stderr) == (0, "")

    @pytest.mark.parametrize("unit", SERVICES, ids=name_of)
    def test_systemd_finds_little_that_a_unit_could_still_give_up(units: Path, unit: Path) -> None:
        checked = analyze(
            "security", "--offline=true", f"--threshold={EXPOSURE_AT_MOST}", unit.name, folder=units
        )

        assert checked.returncode == 0, checked.stdout

    def analyze(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        command = ["systemd-analyze", "--no-pager", *arguments]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


# Docker


def instructions(name: str) -> list[str]:
    return [line.partition(" ")[2].strip() for line in DOCKERFILE if line.startswith(name + " ")]


def test_images_are_of_a_named_version() -> None:
    images = [line.split()[0] for line in instructions("FROM")]
    images += [service["image"] for service in COMPOSE["services"].values() if "build" not in service]

    assert len(images) == 5
    for image in images:
        assert re.search(r":\d", image), image


def test_the_image_has_what_the_program_needs(tmp_path: Path) -> None:
    """Its files are gathered by the Dockerfile's own lines; what `client` builds is what `make build` has built."""
    for line in instructions("COPY"):
        sources, target = line.split()[:-1], line.split()[-1]
        if target == "./" and sources[0].startswith("client/"):
            continue  # The other stage.
        if sources[0] == "--from=client":
            sources = ["client/dist"]
        for source in sources:
            where = tmp_path / target / ("" if len(sources) == 1 and target != "./" else Path(source).name)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, where, dirs_exist_ok=True)
            else:
                shutil.copy(ROOT / source, where)
    environment = {
        "SECRET_KEY": "only-for-collectstatic",
        "ENV_FILE": "/nonexistent",
        "VAR_DIR": str(tmp_path),
    }

    for command in (
        ["manage.py", "collectstatic", "--noinput", "--dry-run"],
        ["scripts/first_data.py"],
        [
            "manage.py",
            "shell",
            "-c",
            "from django.template import loader; loader.get_template('landing.html')",
        ],
    ):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_what_the_image_takes_is_not_ignored() -> None:
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    taken = {line.removeprefix("!").rstrip("/") for line in lines if line.startswith("!")}
    copied = {
        Path(source).parts[0]
        for line in instructions("COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    }

    assert lines[0] == "*"  # Keys, certificates and databases among them.
    assert copied == taken


def test_the_program_does_not_run_as_root() -> None:
    *_, last = [line for line in DOCKERFILE if line.startswith(("USER", "CMD", "RUN", "COPY"))]

    assert instructions("USER") == ["securechat"]
    assert last.startswith("CMD")
    assert DOCKERFILE.index("USER securechat") > max(
        index for index, line in enumerate(DOCKERFILE) if line.startswith("COPY")
    )


def test_the_services_fit_together() -> None:
    services = COMPOSE["services"]

    for service in services.values():
        assert set(service.get("depends_on", {})) <= services.keys()
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


def test_the_processes_are_those_that_haproxy_looks_for() -> None:
    behind = set(
        re.findall(r"server \S+ 127\.0\.0\.1:(\d+)", (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8"))
    )
    ports = {service["command"][-1] for service in PROCESSES.values()}

    assert ports == behind == {"8451", "8452", "8453"}


@pytest.mark.parametrize("service", [*PROCESSES, "prepare"])
def test_a_service_sets_variables_that_there_are_and_runs_what_there_is(service: str) -> None:
    found = COMPOSE["services"][service]
    _, script, *arguments = found["command"]

    assert set(found["environment"]) <= VARIABLES
    assert (ROOT / script).exists()
    if script == "manage.py":
        assert arguments[0] in get_commands()
        assert found["network_mode"] == "service:proxy"
        assert found["environment"]["TRUSTED_PROXIES"] == "127.0.0.1"
