"""Where the socket is."""

from __future__ import annotations

from typing import Any

from django.urls import path

from messaging.consumer import chat_socket

websocket_urlpatterns: list[Any] = [path("ws/", chat_socket)]  # type: ignore[arg-type]
