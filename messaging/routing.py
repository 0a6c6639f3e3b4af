"""Where the socket is."""

from __future__ import annotations

from django.urls import path

from messaging.consumer import chat_socket

websocket_urlpatterns = [path("ws/", chat_socket)]  # type: ignore[arg-type]  # path is typed for views
