"""The ASGI application: Django for HTTP, one consumer for the socket, exact origins only."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "securechat.settings")

from django.core.asgi import get_asgi_application

_http = get_asgi_application()  # Loads the apps, so it comes before what imports models.

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import OriginValidator
from django.conf import settings

from messaging.routing import websocket_urlpatterns

application = ProtocolTypeRouter(
    {
        "http": _http,
        "websocket": OriginValidator(
            URLRouter(websocket_urlpatterns),
            [settings.PUBLIC_ORIGIN],
        ),
    }
)
