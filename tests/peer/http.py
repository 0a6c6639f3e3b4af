"""Pages and JSON of a running server: cookies, CSRF and TLS, by the standard library alone."""

from __future__ import annotations

import html
import json
import re
import ssl
from http.client import HTTPResponse
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import (
    BaseHandler,
    HTTPCookieProcessor,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

TIMEOUT_SECONDS = 30
_CSRF = re.compile(r'<meta name="csrf-token" content="([^"]*)">')
_FIELD_ERROR = re.compile(r'class="[^"]*error[^"]*"[^>]*>([^<]+)<')


class HttpRefused(Exception):
    """The server answered with a refusal; ``code`` is the one of its JSON, or the status of a page."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(f"{status} {code} {message}".strip())
        self.status, self.code = status, code


class Http:
    """One browser's worth of cookies for one origin. Not for two threads at once."""

    def __init__(self, origin: str, ca_file: Path | str) -> None:
        self.origin = origin
        self.tls = ssl.create_default_context(cafile=str(ca_file))
        self.jar = CookieJar()
        self.csrf_token = ""
        handlers: list[BaseHandler] = [
            ProxyHandler({}),
            HTTPSHandler(context=self.tls),
            HTTPCookieProcessor(self.jar),
        ]
        self._opener: OpenerDirector = build_opener(*handlers)

    def cookie_header(self) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.jar)

    def page(self, path: str) -> str:
        """A page's HTML; its CSRF token is kept for what is posted next."""
        text = self._send("GET", path).decode()
        self._learn_csrf(text)
        return text

    def post_form(self, path: str, fields: list[tuple[str, str]]) -> str:
        """Posts a form, follows the redirect, and gives the page that comes of it."""
        body = urlencode([("csrfmiddlewaretoken", self.csrf_token), *fields]).encode()
        text = self._send("POST", path, body, "application/x-www-form-urlencoded").decode()
        self._learn_csrf(text)
        return text

    def json(self, method: str, path: str, body: object = None) -> Any:
        """Raises ``HttpRefused`` with the code of the refusal."""
        raw = None if body is None else json.dumps(body).encode()
        answer = json.loads(self._send(method, path, raw, "application/json"))
        if isinstance(answer, dict) and isinstance(answer.get("csrf_token"), str):
            self.csrf_token = answer["csrf_token"]
        return answer

    def _send(self, method: str, path: str, body: bytes | None = None, content_type: str = "") -> bytes:
        request = Request(self.origin + path, data=body, method=method)  # noqa: S310 - https, from the origin
        if method != "GET":
            request.add_header("Content-Type", content_type)
            request.add_header("X-CSRFToken", self.csrf_token)
            request.add_header("Origin", self.origin)
            request.add_header("Referer", self.origin + path)
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                assert isinstance(response, HTTPResponse)
                return response.read()
        except HTTPError as error:
            with error:
                raise _refusal(error.code, error.read()) from None

    def _learn_csrf(self, page: str) -> None:
        found = _CSRF.search(page)
        if found:
            self.csrf_token = html.unescape(found[1])


def _refusal(status: int, body: bytes) -> HttpRefused:
    try:
        answer = json.loads(body)
        return HttpRefused(status, str(answer["code"]), str(answer["message"]))
    except (ValueError, KeyError, TypeError):
        found = _FIELD_ERROR.search(body.decode(errors="replace"))
        return HttpRefused(status, f"http_{status}", html.unescape(found[1]).strip() if found else "")
