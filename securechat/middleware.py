"""What every answer of the site has in common."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponsePermanentRedirect

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class CanonicalOriginMiddleware:
    """Sends people who opened another name of this server to ``PUBLIC_ORIGIN``.

    The origin is part of what a password is stretched with and of every key chain, so the same
    person under two names of the server would be two different people.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.get_host() == urlsplit(settings.PUBLIC_ORIGIN).netloc:
            return self.get_response(request)
        if request.method in ("GET", "HEAD"):
            return HttpResponsePermanentRedirect(settings.PUBLIC_ORIGIN + request.get_full_path())
        return HttpResponse(
            f"Open {settings.PUBLIC_ORIGIN} instead: this server answers under that name only.\n",
            status=421,
            content_type="text/plain; charset=utf-8",
        )


class PrivacyHeadersMiddleware:
    """Pages of a signed-in person stay out of caches, and no page may use what a chat does not need."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Cache-Control", "no-store")
        # The chat alone names the camera, with which safety numbers are scanned.
        response.headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return response


def add_static_headers(headers: dict[str, str], path: str, url: str) -> None:
    """The Argon2 worker alone may compile WebAssembly; a worker's policy is its own answer's, not its page's."""
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    if "argon2-worker" in url:
        headers["Content-Security-Policy"] = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'"
