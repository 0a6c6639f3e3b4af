"""The plain port: it knows one answer, the address of the secure one, and no way to become a WebSocket."""

from __future__ import annotations

from django.conf import settings
from twisted.web import http

from securechat.serving.guards import GuardedChannel


class Redirect(http.Request):
    def process(self) -> None:
        if self.method not in (b"GET", b"HEAD") or self.requestHeaders.hasHeader(b"Upgrade"):
            self.setResponseCode(426)
            self.responseHeaders.setRawHeaders(b"Upgrade", [b"TLS/1.3"])
            self._answer(b"Use " + settings.PUBLIC_ORIGIN.encode() + b"\n")
            return
        path = self.uri if self.uri.startswith(b"/") else b"/"
        self.setResponseCode(308)
        self.setHeader(b"Location", settings.PUBLIC_ORIGIN.encode() + path)
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.setHeader(b"Connection", b"close")
        self.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        self.setHeader(b"Content-Length", str(len(body)).encode())
        if self.method != b"HEAD":
            self.write(body)
        self.channel.persistent = 0
        self.finish()


class RedirectChannel(GuardedChannel):
    requestFactory = Redirect


class RedirectFactory(http.HTTPFactory):
    protocol = RedirectChannel
    noisy = False
