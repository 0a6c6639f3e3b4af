"""The guards around Daphne, from outside: a real server, real TLS, and clients that do not behave."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPConnection, HTTPSConnection
from io import BufferedReader
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from bench.load import masked
from securechat.certificates import CertificateFiles
from securechat.serving import tls
from securechat.serving.admission import network_of
from securechat.serving.server import CannotListen, bind
from tests.securechat.test_serve import wait_until

ROOT = Path(__file__).resolve().parents[2]
MEBIBYTE = 1_048_576


@dataclass
class Echo:
    process: subprocess.Popen[str]
    port: int
    plain_port: int
    certs: Path
    log: Path

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.certs / "root.crt")

    def https(self) -> HTTPSConnection:
        return HTTPSConnection("localhost", self.port, context=self.trust, timeout=10)

    def raw(self, *, source: str = "127.0.0.1") -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=15, source_address=(source, 0))
        return self.trust.wrap_socket(plain, server_hostname="localhost")

    def websocket(self) -> ClientConnection:
        """Once more after a time-out: before Python 3.13, a thread that reads a session ticket can lose what another writes."""
        address = f"wss://localhost:{self.port}/ws/"
        try:
            return connect(address, ssl=self.trust, max_size=None, open_timeout=5)
        except TimeoutError:
            return connect(address, ssl=self.trust, max_size=None)

    def refusals(self) -> list[str]:
        """The codes of the lines of the log, one for each thing that was refused."""
        return re.findall(r"Refused: .*?code=(\w+)", self.log.read_text())

    def heard(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certs")


@pytest.fixture(scope="module")
def echo(certs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Echo]:
    """One server for all tests here but those that need its last words."""
    with running_echo(certs, tmp_path_factory.mktemp("echo")) as running:
        yield running


@pytest.fixture
def own_echo(certs: Path, tmp_path: Path) -> Iterator[Echo]:
    with running_echo(certs, tmp_path) as running:
        yield running


@contextmanager
def running_echo(certs: Path, folder: Path, **limits: int | str) -> Iterator[Echo]:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "CERTS_DIR": str(certs),
        "VAR_DIR": str(folder),
        "KEYS_FILE": str(folder / "keys.json"),
        "PUBLIC_ORIGIN": "https://chat.example:8443",
        "ALLOWED_HOSTS": "localhost",
        **{name: str(limit) for name, limit in limits.items()},
    }
    log = folder / "echo.log"
    with (
        log.open("w") as lines,
        subprocess.Popen(
            [sys.executable, "-m", "tests.securechat.echo_server"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=lines,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            port, plain_port = map(int, process.stdout.readline().split())
            yield Echo(process, port, plain_port, certs, log)
        finally:
            process.kill()


MANY_HEADERS = b"".join(b"X-%d: x\r\n" % number for number in range(600))
REFUSED_HTTP = {
    "a large body": (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2097153\r\n\r\n", "http_413"),
    "a long line": (b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 70_000, "http_400"),
    "many headers": (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + MANY_HEADERS + b"\r\n", "http_400"),
    "no HTTP": (b"HELLO\r\n\r\n", "http_400"),
}


@pytest.mark.parametrize("which", REFUSED_HTTP)
def test_what_the_launcher_refuses_is_one_line_with_its_code(own_echo: Echo, which: str) -> None:
    sent, code = REFUSED_HTTP[which]
    with own_echo.raw() as client:
        client.sendall(sent)
        client.settimeout(10)
        while client.recv(1000):
            pass

    assert own_echo.refusals() == [code]


def test_who_speaks_no_tls_is_one_line(own_echo: Echo) -> None:
    with socket.create_connection(("127.0.0.1", own_echo.port), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while client.recv(1000):
            pass

    assert own_echo.refusals() == ["no_tls"]


def test_who_is_over_a_cap_is_one_line(certs: Path, tmp_path: Path) -> None:
    with running_echo(certs, tmp_path, MAX_CONNECTIONS_PER_ADDRESS=1) as echo, echo.raw():
        with pytest.raises(OSError, match=r"reset|EOF|closed"):
            echo.raw()
        assert echo.refusals() == ["too_many"]


def test_a_body_of_two_mebibytes_passes(echo: Echo) -> None:
    with closing(echo.https()) as connection:
        connection.request("POST", "/", body=b"x" * (2 * MEBIBYTE))

        assert connection.getresponse().read() == b"2097152"


def test_a_larger_body_is_refused_before_it_is_sent(echo: Echo) -> None:
    with echo.raw() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2097153\r\n\r\n")

        assert client.recv(1000).startswith(b"HTTP/1.1 413 Content Too Large\r\n")


def test_a_larger_body_is_refused_to_a_client_that_sends_it_all(echo: Echo) -> None:
    with echo.raw() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8388608\r\n\r\n")
        client.sendall(b"x" * 8 * MEBIBYTE)

        assert client.recv(1000).startswith(b"HTTP/1.1 413 Content Too Large\r\n")


def test_a_body_in_chunks_is_counted(echo: Echo) -> None:
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    with echo.raw() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.sendall(chunk * 34)

        assert client.recv(1000).startswith(b"HTTP/1.1 413 Content Too Large\r\n")


def test_headers_that_come_byte_by_byte_end_at_the_deadline(echo: Echo) -> None:
    began = time.monotonic()
    with echo.raw() as client:
        client.settimeout(0.5)
        answer = b""
        client.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        while not answer and time.monotonic() - began < 20:
            client.sendall(b"x")
            try:
                answer = client.recv(1000)
            except TimeoutError:
                continue

    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert 9 < time.monotonic() - began < 13


def test_a_connection_can_be_used_again(echo: Echo) -> None:
    with closing(echo.https()) as connection:
        for body in (b"", b"abc"):
            connection.request("POST", "/", body=body)
            assert connection.getresponse().read() == str(len(body)).encode()


def test_the_server_does_not_say_what_it_is(echo: Echo) -> None:
    with closing(echo.https()) as connection, echo.websocket() as websocket:
        connection.request("GET", "/")

        assert websocket.response is not None
        assert websocket.response.headers.get("Server") is None
        assert connection.getresponse().getheader("Server") is None


def test_frames_up_to_the_limit_go_both_ways(echo: Echo) -> None:
    with echo.websocket() as client:
        client.send("x" * 131_072)

        assert client.recv(timeout=10) == "x" * 131_072


def test_what_is_taken_at_once_never_overtakes_what_waits(echo: Echo) -> None:
    with closing(echo.raw()) as client:
        stream = _upgraded(client)
        client.sendall(_frames("take at once"))
        assert _text(stream) == "take at once"

        client.sendall(_frames("!alone"))
        assert _text(stream) == "at once: !alone"
        client.sendall(_frames("waits", "!after it"))
        assert [_text(stream), _text(stream)] == ["waits", "!after it"]
        client.sendall(_frames("!first", "waits", "!after it"))
        assert [_text(stream), _text(stream), _text(stream)] == ["at once: !first", "waits", "!after it"]


def _frames(*texts: str) -> bytes:
    return b"".join(masked(text.encode()) for text in texts)


def _upgraded(client: ssl.SSLSocket) -> BufferedReader:
    client.sendall(UPGRADE)
    stream = client.makefile("rb")
    while stream.readline() != b"\r\n":
        pass
    return stream


def _text(stream: BufferedReader) -> str:
    """Of a short frame."""
    _, length = stream.read(2)
    return stream.read(length).decode()


def test_a_text_that_is_not_utf_8_closes_the_socket_with_1007(echo: Echo) -> None:
    with closing(echo.raw()) as client:
        stream = _upgraded(client)
        client.sendall(masked(b"\xff\xfe"))

        assert stream.read(4)[2:] == (1007).to_bytes(2, "big")


def test_a_larger_frame_closes_the_socket_with_1009(echo: Echo) -> None:
    with echo.websocket() as client:
        client.send("x" * 131_073)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


@pytest.mark.parametrize("opcode", [b"\x89", b"\x8a"], ids=["pings", "pongs"])
def test_a_flood_of_pings_is_cut_off_after_the_burst(own_echo: Echo, opcode: bytes) -> None:
    with own_echo.raw() as client:
        client.sendall(UPGRADE)
        client.sendall((opcode + b"\x81\0\0\0\0x") * 200)

        assert own_echo.heard() == "disconnected 1006"
    assert own_echo.refusals() == ["too_many_pings"]


def test_a_peer_that_vanished_is_noticed_within_ten_seconds(own_echo: Echo) -> None:
    with own_echo.raw() as client:
        client.sendall(
            b"GET /ws/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        began = time.monotonic()  # From here on it reads, and never answers a ping.

        assert own_echo.heard() == "disconnected 4006"
        assert time.monotonic() - began < 10 + 1  # Ping 5/5, and what a busy machine takes.


def test_sigterm_ends_sockets_with_1012_and_the_server_within_five_seconds(own_echo: Echo) -> None:
    with own_echo.websocket() as client:
        client.send("hello")
        client.recv(timeout=10)
        began = time.monotonic()
        own_echo.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    assert [own_echo.heard(), own_echo.heard()] == ["ending", "disconnected 1012"]
    assert own_echo.process.wait(timeout=10) == 0
    assert time.monotonic() - began < 5


def test_a_body_that_does_not_come_ends_at_the_deadline(certs: Path, tmp_path: Path) -> None:
    with running_echo(certs, tmp_path, BODY_DEADLINE_SECONDS=1) as echo, echo.raw() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")

        assert client.recv(1000).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


UPGRADE = (
    b"GET /ws/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
FRAME_THAT_ASKS_FOR_MUCH = b"\x81\x84\0\0\0\0send"


def test_a_socket_that_is_not_read_makes_the_application_wait_and_is_cut_off(
    certs: Path, tmp_path: Path
) -> None:
    with running_echo(certs, tmp_path, SEND_DEADLINE_SECONDS=1) as echo, echo.raw() as client:
        client.sendall(UPGRADE)
        client.sendall(FRAME_THAT_ASKS_FOR_MUCH)

        said, sent = echo.heard().split()
        assert said == "sent"
        assert int(sent) * 65_536 < 32 * MEBIBYTE  # Of 125; what systems buffer is counted.
        assert echo.heard() == "disconnected 1006"


def test_an_answer_that_is_not_read_makes_the_application_wait_and_is_cut_off(
    certs: Path, tmp_path: Path
) -> None:
    with running_echo(certs, tmp_path, BODY_DEADLINE_SECONDS=1) as echo, echo.raw() as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")

        said, sent = echo.heard().split()
        assert said == "sent"
        assert int(sent) * 65_536 < 32 * MEBIBYTE


def test_a_slow_reader_gets_all_of_it(echo: Echo) -> None:
    with closing(echo.https()) as connection:
        connection.request("GET", "/large")

        assert len(connection.getresponse().read(64 * MEBIBYTE)) == 64 * MEBIBYTE


def test_who_sends_more_than_is_taken_waits_and_loses_nothing(own_echo: Echo) -> None:
    frames = [f"{number} {'x' * 65_536}" for number in range(1_000)]
    with own_echo.websocket() as client:
        client.send("hold")
        taken = _sent_until_it_stops(client, [*frames, "end"])
        own_echo.process.send_signal(signal.SIGUSR1)

        assert taken * 65_536 < 32 * MEBIBYTE
        assert client.recv(timeout=20) == sha256("".join(frames).encode()).hexdigest()


def _sent_until_it_stops(client: ClientConnection, frames: list[str]) -> int:
    """How many a thread got rid of when it could not go on; it goes on as soon as it can."""
    sent = [0]

    def send_all() -> None:
        for number, frame in enumerate(frames, start=1):
            client.send(frame)
            sent[0] = number

    threading.Thread(target=send_all, daemon=True).start()
    before = -1
    while before != sent[0] < len(frames):
        before = sent[0]
        time.sleep(1)
    return sent[0]


def test_one_address_has_so_many_connections_and_another_its_own(certs: Path, tmp_path: Path) -> None:
    with running_echo(certs, tmp_path, MAX_CONNECTIONS_PER_ADDRESS=2) as echo, ExitStack() as stack:
        first = stack.enter_context(echo.raw())
        stack.enter_context(echo.raw())
        assert is_turned_away(echo)
        assert not is_turned_away(echo, source="127.0.0.2")

        first.close()

        wait_until(lambda: not is_turned_away(echo))


def test_all_together_have_so_many_connections(certs: Path, tmp_path: Path) -> None:
    with running_echo(certs, tmp_path, MAX_CONNECTIONS=2) as echo, ExitStack() as stack:
        stack.enter_context(echo.raw())
        second = stack.enter_context(echo.raw(source="127.0.0.2"))
        assert is_turned_away(echo, source="127.0.0.3")

        second.close()

        wait_until(lambda: not is_turned_away(echo, source="127.0.0.3"))


def test_the_plain_port_counts_too(certs: Path, tmp_path: Path) -> None:
    def redirects(port: int) -> bool:
        with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            try:
                connection.request("GET", "/")
                return connection.getresponse().status == 308
            except OSError:
                return False

    with running_echo(certs, tmp_path, MAX_CONNECTIONS_PER_ADDRESS=1) as echo:
        with echo.raw():
            assert not redirects(echo.plain_port)

        wait_until(lambda: redirects(echo.plain_port))


def is_turned_away(echo: Echo, *, source: str = "127.0.0.1") -> bool:
    try:
        echo.raw(source=source).close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize(
    ("host", "same"),
    [
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("2001:db8::1", "2001:db8::ffff:1"),
        ("fe80::1%eth0", "fe80::2%eth1"),
    ],
)
def test_addresses_of_one_household_count_together(host: str, same: str) -> None:
    assert network_of(host) == network_of(same)


@pytest.mark.parametrize(("host", "other"), [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8:0:1::1")])
def test_addresses_of_two_households_do_not(host: str, other: str) -> None:
    assert network_of(host) != network_of(other)


def test_it_opens_as_many_files_as_it_may(echo: Echo) -> None:
    soft, hard = resource.prlimit(echo.process.pid, resource.RLIMIT_NOFILE)

    assert soft == hard


def test_the_plain_port_only_redirects(echo: Echo) -> None:
    with closing(HTTPConnection("127.0.0.1", echo.plain_port, timeout=10)) as connection:
        connection.request("GET", "/chat/?a=b")
        answer = connection.getresponse()

    assert answer.status == 308
    assert answer.getheader("Location") == "https://chat.example:8443/chat/?a=b"


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /ws/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"POST /api/log-in/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_the_plain_port_takes_no_socket_and_no_form(echo: Echo, request_head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", echo.plain_port), timeout=10) as client:
        client.sendall(request_head)

        assert client.recv(1000).startswith(b"HTTP/1.1 426 ")


def test_older_tls_than_1_3_is_refused(echo: Echo) -> None:
    old = echo.trust
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", echo.port), timeout=10) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain, server_hostname="localhost")


def test_the_key_exchange_is_post_quantum_where_both_can(certs: Path, echo: Echo) -> None:
    from OpenSSL import SSL

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    tls._set_groups(context)
    with socket.create_connection(("127.0.0.1", echo.port), timeout=10) as plain:
        plain.settimeout(None)
        connection = SSL.Connection(context, plain)
        connection.set_tlsext_host_name(b"localhost")
        connection.set_connect_state()
        connection.do_handshake()

        assert connection.get_group_name() == "X25519MLKEM768"


def test_a_new_certificate_is_served_without_a_restart(
    echo: Echo, certs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def served() -> bytes:
        with echo.raw() as client:
            return client.getpeercert(binary_form=True) or b""

    before = served()
    environment = {**os.environ, "CERTS_DIR": str(certs), "PUBLIC_ORIGIN": "https://chat.example:8443"}
    subprocess.run([sys.executable, "manage.py", "certs", "renew"], cwd=ROOT, env=environment, check=True)
    time.sleep(tls.LOOK_EVERY_SECONDS)

    assert served() != before


def test_a_certificate_whose_key_comes_later_is_served_when_it_is_there(
    certs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOK_EVERY_SECONDS", 0.0)
    files = CertificateFiles(tmp_path / "server.crt", tmp_path / "server.key", is_own=True)
    for file, name in zip((files.certificate, files.key), ("server.crt", "server.key"), strict=True):
        shutil.copy(certs / name, file)
    contexts = tls.TLSContexts(files)
    first = contexts.context()
    environment = {
        **os.environ,
        "CERTS_DIR": str(tmp_path / "other"),
        "PUBLIC_ORIGIN": "https://chat.example",
    }
    subprocess.run([sys.executable, "manage.py", "certs", "init"], cwd=ROOT, env=environment, check=True)

    shutil.copy(tmp_path / "other" / "server.crt", files.certificate)
    assert contexts.context() is first
    shutil.copy(tmp_path / "other" / "server.key", files.key)

    assert contexts.context() is not first


def test_a_taken_port_is_one_sentence() -> None:
    with (
        bind("127.0.0.1", 0) as first,
        pytest.raises(CannotListen, match=r"^Port \d+ is taken: stop what uses it"),
    ):
        bind("127.0.0.1", first.getsockname()[1])


def test_an_address_of_another_computer_is_one_sentence() -> None:
    with pytest.raises(CannotListen, match=r"cannot listen on 192\.0\.2\.1, port 0: Cannot assign"):
        bind("192.0.2.1", 0)


def test_it_listens_on_ipv6_too() -> None:
    with bind("::1", 0) as listener:
        assert listener.family == socket.AF_INET6
