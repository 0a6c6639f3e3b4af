"""`make run-cluster`: three processes on one PostgreSQL and one Valkey, behind HAProxy or nginx, on https://localhost:8443.

PostgreSQL and Valkey are those from pip, with their data in var/cluster, or those that DATABASE_URL and REDIS_URL name. PROXY=nginx
takes nginx where HAProxy is there too; PROCESSES=2 is another number. A process that ends is started again.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import run
from scripts.proxies import WHAT_TO_DO, Place, Proxy, find_proxies
from scripts.steps import ROOT, Steps, fail
from scripts.test import POSTGRESQL
from scripts.toolbox import PYTHON

_LOOPBACK = "127.0.0.1"
_START_SECONDS = 60
_STOP_SECONDS = 8  # `serve` takes 5 at most.
_LOOK_SECONDS = 0.5
_HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class DidNotStart(Exception):
    """Says in one sentence what."""

    def __init__(self, what: str, log: Path) -> None:
        super().__init__(f"{what} did not start.")
        self.log = log


@dataclass
class Program:
    """A process in the background with a log; Ctrl-C in the terminal does not reach it."""

    name: str
    command: list[str]
    log: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def ask_to_stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def wait_for_the_end(self) -> None:
        if self.process is None:
            return
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Server(Program):
    port: int = 0

    def answers(self) -> bool:
        """As the proxy asks: over TLS, behind the PROXY protocol."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with socket.create_connection((_LOOPBACK, self.port), timeout=3) as plain:
                plain.sendall(b"PROXY UNKNOWN\r\n")
                with context.wrap_socket(plain) as connection:
                    connection.sendall(_HEALTH)
                    return connection.recv(100).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False


@dataclass
class Cluster:
    """``folder`` holds its data, logs and sockets. ``environment`` is that of its processes."""

    folder: Path
    proxy: Proxy
    environment: Mapping[str, str]
    origin: str
    address: str
    port: int
    plain_port: int = 0
    processes: int = 3
    servers: list[Server] = field(default_factory=list)
    _ending: ExitStack = field(default_factory=ExitStack)

    @contextmanager
    def running(self, *, prepare: Callable[[Mapping[str, str]], None]) -> Iterator[None]:
        """``prepare`` gets the environment when the database is there."""
        try:
            self.start_data()
            prepare(self.environment)
            self.start_processes()
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        """A second call does nothing."""
        self._ending.close()

    def start_data(self) -> None:
        """PostgreSQL and Valkey, or those that the environment names."""
        for name in ("log", "var"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        database = self.environment.get("DATABASE_URL") or self._ending.enter_context(
            postgresql(self.folder / "postgresql", self.folder / "log" / "postgresql.log")
        )
        redis = self.environment.get("REDIS_URL") or self._ending.enter_context(valkey(self.folder))
        self.environment = {**self.environment, "DATABASE_URL": database, "REDIS_URL": redis}

    def start_processes(self) -> None:
        """Returns when each answers, and the proxy listens."""
        self.plain_port = self.plain_port or _free_port()
        self.servers = [self._server(number, _free_port()) for number in range(1, self.processes + 1)]
        self._ending.callback(self._end_servers)
        for server in self.servers:
            server.start()
        for server in self.servers:
            _wait(server.answers, server)
        self._start_proxy()

    def start_again(self) -> list[Server]:
        """Those that have ended; returns them without waiting for them to answer."""
        ended = [server for server in self.servers if server.has_ended()]
        for server in ended:
            server.start()
        return ended

    def _server(self, number: int, port: int) -> Server:
        environment = {
            **self.environment,
            "VAR_DIR": str(self.folder / "var"),
            "PUBLIC_ORIGIN": self.origin,
            "LISTEN_ADDRESS": _LOOPBACK,
            "LISTEN_PORT": str(port),
            "REDIRECT_PORT": "0",
            "TRUSTED_PROXIES": _LOOPBACK,
            "PYTHONUNBUFFERED": "1",
        }
        log = self.folder / "log" / f"server-{number}.log"
        return Server(
            f"Process {number}", [sys.executable, "manage.py", "serve"], log, environment, port=port
        )

    def _start_proxy(self) -> None:
        ports = [server.port for server in self.servers]
        place = Place(self.folder, self.origin, self.address, self.port, self.plain_port, ports)
        configuration = self.proxy.write_configuration(place)
        log = self.folder / "log" / f"{self.proxy.name}.log"
        proxy = Program(
            self.proxy.name,
            self.proxy.serve(configuration),
            log,
            {**os.environ, "PUBLIC_ORIGIN": self.origin},
        )
        self._ending.callback(proxy.wait_for_the_end)
        self._ending.callback(proxy.ask_to_stop)
        proxy.start()
        _wait(lambda: _listens(self.address, self.port), proxy)

    def _end_servers(self) -> None:
        for server in self.servers:
            server.ask_to_stop()
        for server in self.servers:
            server.wait_for_the_end()


@contextmanager
def postgresql(folder: Path, log: Path) -> Iterator[str]:
    """The one from pip; yields its URL. It ends with this process, however that ends; its data stay."""
    with (
        log.open("ab") as output,
        subprocess.Popen(
            [PYTHON, "-c", POSTGRESQL, str(folder), "keep"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            start_new_session=True,
        ) as server,
    ):
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        if not url:
            raise DidNotStart("PostgreSQL", log)
        yield url


@contextmanager
def valkey(folder: Path) -> Iterator[str]:
    """The one from pip, for all processes: none of them takes it along when it is killed. Yields its URL."""
    from securechat.serving.valkey import MAX_SOCKET_PATH_BYTES, EmbeddedValkey

    with ExitStack() as stack:
        socket_file = folder / "run" / "valkey.sock"
        if len(os.fsencode(socket_file)) > MAX_SOCKET_PATH_BYTES:
            short = stack.enter_context(tempfile.TemporaryDirectory(prefix="securechat-"))
            socket_file = Path(short) / "valkey.sock"
        stack.enter_context(EmbeddedValkey(socket_file, log_file=folder / "log" / "valkey.log"))
        yield f"unix://{socket_file}"


def _wait(holds: Callable[[], bool], program: Program) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not holds():
        if program.has_ended() or time.monotonic() > deadline:
            raise DidNotStart(program.name, program.log)
        time.sleep(0.1)


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((_LOOPBACK, 0))
        return int(listener.getsockname()[1])


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run.choose_port()
    if sys.argv[1:] != ["prepared"]:
        _choose_proxy()
        run.prepare_program(Steps(4), development=not run.setting("DATABASE_URL"))
        sys.stdout.flush()
        os.execv(PYTHON, [str(PYTHON), str(Path(__file__).resolve()), "prepared"])
    try:
        _serve()
    except KeyboardInterrupt:
        print("Stopped.")
    except DidNotStart as problem:
        fail(str(problem), problem.log)


def _choose_proxy() -> Proxy:
    wanted = os.environ.get("PROXY")
    found = [proxy for proxy in find_proxies() if wanted in (None, "", proxy.name)]
    if not found:
        fail(WHAT_TO_DO if not wanted else f"PROXY={wanted} is not here. {WHAT_TO_DO}")
    return found[0]


def _serve() -> None:
    cluster = Cluster(
        folder=ROOT / "var" / "cluster",
        proxy=_choose_proxy(),
        environment={**os.environ, **{name: run.setting(name) for name in ("DATABASE_URL", "REDIS_URL")}},
        origin=run.public_origin(),
        address=run.setting("LISTEN_ADDRESS") or _LOOPBACK,
        port=run.listen_port(),
        plain_port=int(run.setting("REDIRECT_PORT") or 0),
        processes=int(os.environ.get("PROCESSES") or 3),
    )
    steps = Steps(3)
    try:
        with steps.step("Starting PostgreSQL and Valkey"):
            cluster.start_data()
        with steps.step("Preparing keys, certificates and the database"):
            run.prepare_data(cluster.environment)
        with steps.step(f"Starting {cluster.processes} processes and {cluster.proxy.name}"):
            cluster.start_processes()
        _say_where(cluster)
        while True:
            time.sleep(_LOOK_SECONDS)
            for server in cluster.start_again():
                print(f"The process on port {server.port} ended; starting it again.", flush=True)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # A second Ctrl-C leaves nothing half running.
            signal.signal(number, signal.SIG_IGN)
        print("\nStopping…", flush=True)
        cluster.stop()


def _say_where(cluster: Cluster) -> None:
    ports = ", ".join(str(server.port) for server in cluster.servers)
    print(
        f"\nSecureChat is at   {cluster.origin}/"
        f"\nTo trust it        {cluster.origin}/trust/ explains how, once for each computer"
        f"\nBehind             {cluster.proxy.name}, processes on ports {ports}"
        f"\nLogs               {(cluster.folder / 'log').relative_to(ROOT)}/"
        "\nTo stop            press Ctrl-C\n",
        flush=True,
    )


if __name__ == "__main__":
    main()
