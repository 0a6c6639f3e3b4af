"""The ASGI application: Django for HTTP, one consumer for the socket, exact origins only."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "securechat.settings")

from django.core.asgi import get_asgi_application

_http = get_asgi_application()  # Loads the apps, so it comes before what imports models.

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import OriginValidator
from django.conf import settings

from messaging.routing import websocket_urlpatterns
from securechat.logs import refused


class SameOrigin(OriginValidator):
    """Who is turned away is a line of the log, as every refusal."""

    def valid_origin(self, parsed_origin: Any) -> bool:
        is_valid = bool(super().valid_origin(parsed_origin))
        if not is_valid:
            refused("socket", "foreign_origin")
        return is_valid


application = ProtocolTypeRouter(
    {
        "http": _http,
        "websocket": SameOrigin(
            URLRouter(websocket_urlpatterns),
            [settings.PUBLIC_ORIGIN],
        ),
    }
)
