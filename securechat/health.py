"""Whether this process is alive (``/healthz``), and whether it can do its work (``/readyz``), for whoever watches it.

Answered before anything else of Django has a say: no session, no cookie, no look at the host's name, which for a probe is often
a bare address. Reasons are in plain words and never quote an error, in which names of hosts and users stand.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from datetime import UTC, datetime, timedelta
from functools import cache

from django.conf import settings
from django.db import DatabaseError, connection, connections, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed, JsonResponse
from redis import RedisError

from securechat import certificates, metrics, redis
from securechat.certificates import CertificateProblem

logger = logging.getLogger(__name__)


class HealthMiddleware:
    """The first of all, so that the others are not asked."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        answer = _ANSWERS.get(request.path)
        if answer is None:
            return self.get_response(request)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        response = answer(request)
        response.headers["Cache-Control"] = "no-store"
        return response


def _alive(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"alive": True})


def _ready(request: HttpRequest) -> JsonResponse:
    """503 where a part is away. ``?exclude=redis`` still says it, but answers 200: docs/decisions/0012."""
    excluded = set(request.GET.getlist("exclude"))
    if not excluded <= CHECKS.keys():
        return JsonResponse({"error": f"exclude takes {', '.join(CHECKS)}."}, status=400)
    found = reasons()
    is_ready = not any(reason for name, reason in found.items() if name not in excluded)
    parts = {name: reason or "ok" for name, reason in found.items()}
    return JsonResponse({"ready": is_ready, **parts}, status=200 if is_ready else 503)


_ANSWERS: dict[str, Callable[[HttpRequest], HttpResponse]] = {
    "/healthz": _alive,
    "/readyz": _ready,
    "/metrics": metrics.answer,
}


class Check:
    """Looks in a thread of its own, one at a time: what hangs is waited for by the next who asks, not started again."""

    def __init__(self, look: Callable[[], str | None]) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._running: Future[str | None] | None = None
        self._since = 0.0

    def start(self) -> Future[str | None]:
        """The reason why not, or None. After ``HEALTH_GIVE_UP`` a look is left alone: its peer may have gone without a word."""
        with self._lock:
            age = timedelta(seconds=time.monotonic() - self._since)
            if self._running is None or self._running.done() or age > settings.HEALTH_GIVE_UP:
                self._since = time.monotonic()
                self._running = Future()
                threading.Thread(target=self._run, args=(self._running,), name="health", daemon=True).start()
            return self._running

    def _run(self, result: Future[str | None]) -> None:
        try:
            result.set_result(self._look())
        except BaseException as error:  # Whoever asked gets it.
            result.set_exception(error)
        finally:
            connections.close_all()


def reasons() -> dict[str, str | None]:
    """Why each part is not ready, or None; within ``HEALTH_DEADLINE``."""
    running = {name: check.start() for name, check in CHECKS.items()}
    wait(running.values(), timeout=settings.HEALTH_DEADLINE.total_seconds())
    return {name: one.result() if one.done() else _too_late() for name, one in running.items()}


def _too_late() -> str:
    return f"No answer within {settings.HEALTH_DEADLINE.total_seconds():g} s."


def _database() -> str | None:
    """Over a connection of its own, and as if to store something: on SQLite the transaction takes the lock for writing."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            if connection.vendor != "postgresql":
                return None
            cursor.execute("SHOW transaction_read_only")
            return None if cursor.fetchone() == ("off",) else "It takes no writes."
    except DatabaseError as error:
        logger.warning("The database does not answer (%s).", type(error).__name__)
        return "It does not answer."


def _redis() -> str | None:
    try:
        redis.client().ping()
    except (RedisError, OSError):
        return "It does not answer. Messages go on; who is online is unknown."
    return None


def _migrations() -> str | None:
    """A database that is ahead of this program is no reason: during an upgrade the old processes go on."""
    try:
        missing = missing_migrations()
    except DatabaseError:
        return "The database does not answer."
    return f"The database lacks {len(missing)} of them. Run: manage.py migrate" if missing else None


def missing_migrations() -> frozenset[tuple[str, str]]:
    """Raises ``DatabaseError``."""
    return _known_migrations() - MigrationRecorder(connection).applied_migrations().keys()


@cache
def _known_migrations() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None).disk_migrations)


def certificate_end() -> datetime | None:
    """None where no certificate can be read."""
    try:
        return certificates.show()[-1].not_after
    except CertificateProblem:
        return None


def _certificate() -> str | None:
    try:
        server = certificates.show()[-1]
    except CertificateProblem:
        return "There is none that can be read. Run: manage.py certs init"
    now = datetime.now(UTC)
    if now > server.not_after:
        return f"It ended on {server.not_after:%Y-%m-%d}. Run: manage.py certs renew"
    if now < server.not_before:
        return f"It begins on {server.not_before:%Y-%m-%d}: is this computer's clock right?"
    return None


CHECKS = {
    "database": Check(_database),
    "redis": Check(_redis),
    "migrations": Check(_migrations),
    "certificate": Check(_certificate),
}

metrics.Readings(
    "ready",
    "1 where /readyz finds a part ready, else 0.",
    "part",
    lambda: {name: float(reason is None) for name, reason in reasons().items()},
)
metrics.Gauge(
    "certificate_end_timestamp_seconds",
    "When the certificate ends, since 1970.",
    lambda: certificates.show()[-1].not_after.timestamp(),
)
