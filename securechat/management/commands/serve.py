"""`manage.py serve`: SecureChat with TLS, its own Valkey and everything else it needs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from argparse import ArgumentParser
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from daphne.server import Server as _  # noqa: F401 - installs the reactor, before anything imports Twisted's own
from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils.module_loading import import_string
from twisted.internet import reactor
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread

from securechat import assets, certificates, sealed
from securechat.assets import BuildMissing
from securechat.certificates import CertificateProblem
from securechat.management.explained import ExplainedCommand
from securechat.pulse import Pulse
from securechat.serving.proxied import UnknownProxy, trusted_networks
from securechat.serving.server import CannotListen, GuardedServer, bind
from securechat.serving.tls import TLSContexts
from securechat.serving.valkey import EmbeddedValkey, ValkeyUnavailable

logger = logging.getLogger(__name__)

_LOOK_AT_CERTIFICATE_EVERY_SECONDS = 6 * 60 * 60


EXAMPLES = """
examples:
  manage.py serve                               at PUBLIC_ORIGIN's port, for this computer
  manage.py serve --address 0.0.0.0 --port 443  for the network; LISTEN_ADDRESS and LISTEN_PORT say the same for good
  manage.py doctor                              when it does not start: what is wrong, and how to mend it

It needs keys (init_keys), a database (migrate) and static files (make build), and says which is missing. SIGTERM closes sockets with
1012, stores what waits and ends within 5 s.

exit codes: 0 told to stop; 1 it could not start, and why.
"""


class Command(ExplainedCommand):
    help = (
        "Serves SecureChat over HTTPS until SIGTERM or Ctrl-C. Without REDIS_URL it runs a Valkey of its own."
    )

    examples = EXAMPLES

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--address", default=settings.LISTEN_ADDRESS, help="default: LISTEN_ADDRESS")
        parser.add_argument("--port", type=int, default=settings.LISTEN_PORT, help="default: LISTEN_PORT")

    def handle(self, *args: Any, address: str, port: int, **options: Any) -> None:
        # Until the event loop sees to both: a Valkey that was started must not stay behind.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            trusted_networks()
            listener = bind(address, port)
            redirect = bind(address, settings.REDIRECT_PORT) if settings.REDIRECT_PORT else None
            _check_database()
            self._check_keys()
            _check_static_files()
            self._renew_certificates()
            valkey = _valkey()
            with valkey:
                self._serve(listener, redirect, valkey if isinstance(valkey, EmbeddedValkey) else None)
        except (CannotListen, CertificateProblem, UnknownProxy, ValkeyUnavailable) as problem:
            raise CommandError(str(problem)) from None
        except KeyboardInterrupt:
            self.stdout.write("Stopped before it had begun.")

    def _serve(
        self, listener: socket.socket, redirect: socket.socket | None, valkey: EmbeddedValkey | None
    ) -> None:
        application = import_string(settings.ASGI_APPLICATION)
        shut_down = import_string("messaging.hub.shut_down")
        pulse = Pulse()
        server = GuardedServer(
            application,
            listener=listener,
            redirect_listener=redirect,
            contexts=TLSContexts(certificates.files()),
            before_end=[shut_down, partial(asyncio.to_thread, pulse.end)],
            at_the_latest=valkey.kill if valkey else lambda: None,
        )
        LoopingCall(deferToThread, pulse.beat).start(settings.PULSE.total_seconds())
        LoopingCall(self._renew_while_running).start(_LOOK_AT_CERTIFICATE_EVERY_SECONDS, now=False)
        self._say_where()
        server.run()
        for told_again in (signal.SIGTERM, signal.SIGINT):
            signal.signal(told_again, signal.SIG_IGN)
        self.stdout.write("Stopped.")

    def _check_keys(self) -> None:
        """Before anybody can write a row that the keys of tomorrow do not open."""
        try:
            sealed.key_ring()
        except sealed.KeysMissing as problem:
            raise CommandError(f"{problem} A new installation makes one with: manage.py init_keys") from None
        except sealed.KeysInvalid as problem:
            raise CommandError(f"{problem} Restore it from your backup.") from None
        self.check(databases=["default"])

    def _say_where(self) -> None:
        fingerprint = certificates.root_fingerprint()
        lines = ["", f"SecureChat is at   {settings.PUBLIC_ORIGIN}/"]
        if fingerprint:
            lines += [
                f"Its root certificate has the SHA-256 fingerprint\n  {fingerprint}",
                f"To trust it        {settings.PUBLIC_ORIGIN}/trust/ explains how, once for each computer",
            ]
        reactor.callWhenRunning(self.stdout.write, "\n".join([*lines, "To stop            press Ctrl-C", ""]))

    def _renew_certificates(self) -> None:
        if certificates.init():
            self.stdout.write("Made a new server certificate.")

    def _renew_while_running(self) -> None:
        try:
            self._renew_certificates()
        except CertificateProblem as problem:
            logger.error("The certificate could not be renewed: %s", problem)


def _valkey() -> AbstractContextManager[object]:
    if settings.REDIS_URL:
        return nullcontext()
    log = Path(settings.VAR_DIR) / "log" / "valkey.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    return EmbeddedValkey(Path(settings.EMBEDDED_REDIS_SOCKET), log_file=log)


def _check_database() -> None:
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        raise CommandError(
            f"The database does not answer ({str(error).splitlines()[0]}): check DATABASE_URL."
        ) from None
    finally:
        connection.close()
    if missing:
        raise CommandError(f"{len(missing)} migrations are missing in the database. Run: manage.py migrate")


def _check_static_files() -> None:
    if not os.path.exists(Path(settings.STATIC_ROOT) / "staticfiles.json"):
        raise CommandError("The static files are not there. Run: make build")
    try:
        assets.read_build(assets.collected_manifest())
    except BuildMissing as problem:
        raise CommandError(str(problem)) from None
