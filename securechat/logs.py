"""Lines of the log: each with the request or the socket that it belongs to, and nothing secret in it.

What was refused is one line with its code (``refused``). A flood of refusals must not fill the disk: what is over
``LOG_REFUSALS_PER_SECOND`` is counted, and the next line says how many were left out.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from securechat import metrics
from securechat.ratelimit import Bucket

request_id: ContextVar[str] = ContextVar("request_id", default="")
connection_id: ContextVar[str] = ContextVar("connection_id", default="")
_logger = logging.getLogger("securechat.refused")
_REFUSED_CODE = "_refused_code"
_lock = threading.Lock()


class PlainFormatter(logging.Formatter):
    """For people: the id stands in brackets."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        which = request_id.get() or connection_id.get()
        return f"{line} [{which}]" if which else line


class JsonFormatter(logging.Formatter):
    """One object a line, for programs."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request := request_id.get():
            line["request"] = request
        if connection := connection_id.get():
            line["connection"] = connection
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def new_id() -> str:
    """Made here: what a client sends would be anybody's text in the log."""
    return secrets.token_hex(8)


class RequestIdMiddleware:
    """Names each request, also to its browser (``X-Request-ID``), and notes what was refused."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        token = request_id.set(new_id())
        try:
            response = self.get_response(request)
            response.headers["X-Request-ID"] = request_id.get()
            code = getattr(response, _REFUSED_CODE, None)
            if code is None and 400 <= response.status_code < 500:
                code = f"http_{response.status_code}"
            if code is not None:
                match = request.resolver_match
                refused("http", code, page=match.view_name if match else "", method=request.method or "")
            return response
        finally:
            request_id.reset(token)


def note_refusal(response: HttpResponseBase, code: str) -> None:
    """The code under which the middleware notes that answer."""
    setattr(response, _REFUSED_CODE, code)


def refused(where: str, code: str, **facts: str) -> None:
    """One line, and one more in ``securechat_refusals_total``. ``facts`` are names of ours, never what somebody sent."""
    metrics.REFUSALS.inc(where=where, code=code)
    left_out = _flow.pass_one()
    if left_out is None:
        return
    shown = {"where": where, "code": code, **facts} | ({"left_out": left_out} if left_out else {})
    _logger.info(
        "Refused: %s", " ".join(f"{name}={value}" for name, value in shown.items()), extra={"facts": shown}
    )


class _Flow:
    def __init__(self) -> None:
        self._bucket: Bucket | None = None
        self._left_out = 0

    def pass_one(self) -> int | None:
        """How many were left out since the last that passed; None for one that is left out itself."""
        with _lock:
            if self._bucket is None:
                rate = settings.LOG_REFUSALS_PER_SECOND
                self._bucket = Bucket(limit=10 * rate, per_second=rate)
            if self._bucket.take(time.monotonic_ns()):
                self._left_out += 1
                return None
            left_out, self._left_out = self._left_out, 0
            return left_out


_flow = _Flow()
