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
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from copy import copy
from datetime import UTC, datetime
from types import TracebackType
from typing import TypeAlias

from django.conf import settings
from django.db import OperationalError
from django.http import HttpRequest, HttpResponseBase

from securechat import metrics
from securechat.ratelimit import Bucket

ExceptionInfo: TypeAlias = (
    "tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]"
)

request_id: ContextVar[str] = ContextVar("request_id", default="")
connection_id: ContextVar[str] = ContextVar("connection_id", default="")
_logger = logging.getLogger("securechat.refused")
_REFUSED_CODE = "_refused_code"
_lock = threading.Lock()


_CANNOT_QUOTE = (AttributeError, ImportError, NameError, OSError, OperationalError, TypeError)
"""What these say is of the program and the machine. Other texts may have a row or somebody's input in them."""


class DiscreetFormatter(logging.Formatter):
    """Shows where something broke and what kind of error it was, not what the error quotes nor the address of the page."""

    def format(self, record: logging.LogRecord) -> str:
        record = copy(record)
        record.exc_text = None  # Another handler's, with everything in it.
        if record.exc_info and isinstance(record.args, tuple):
            record.args = tuple(
                type(part).__name__ if isinstance(part, BaseException) else part for part in record.args
            )
        request = getattr(record, "request", None)
        if record.name == "django.request" and isinstance(request, HttpRequest):
            match = request.resolver_match
            record.msg, record.args = "Internal Server Error: %s", (match.view_name if match else "no page",)
        return self.line(record)

    def line(self, record: logging.LogRecord) -> str:
        return super().format(record)

    def formatException(self, ei: ExceptionInfo) -> str:
        return "\n\n".join(_shown(error) for error in _chain(ei[1]))


def _chain(error: BaseException | None) -> list[BaseException]:
    """What came first stands first, as Python shows it."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.insert(0, error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return found


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _shown(error: BaseException) -> str:
    text = f": {_first_line(error)}" if isinstance(error, _CANNOT_QUOTE) else ""
    steps = "".join(traceback.format_tb(error.__traceback__))
    return f"Traceback (most recent call last):\n{steps}{type(error).__qualname__}{text}"


class PlainFormatter(DiscreetFormatter):
    """For people: the id stands in brackets."""

    def line(self, record: logging.LogRecord) -> str:
        line = super().line(record)
        which = request_id.get() or connection_id.get()
        return f"{line} [{which}]" if which else line


class JsonFormatter(DiscreetFormatter):
    """One object a line, for programs."""

    def line(self, record: logging.LogRecord) -> str:
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
    if facts.get("connection") == connection_id.get():  # Then the line has it anyway.
        del facts["connection"]
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
