from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.peers.tutorial.settings")

from django.core.asgi import get_asgi_application

_http = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import re_path

from bench.peers.tutorial.chat.consumers import ChatConsumer

application = ProtocolTypeRouter(
    {
        "http": _http,
        "websocket": URLRouter([re_path(r"^ws/chat/(?P<room_name>\w+)/$", ChatConsumer.as_asgi())]),  # type: ignore[arg-type, list-item]
    }
)
