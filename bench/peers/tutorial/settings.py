"""TUTORIAL_FOLDER holds its database; TUTORIAL_REDIS is the URL of its channel layer, in memory where it is empty."""

from __future__ import annotations

import os
from pathlib import Path

SECRET_KEY = "only-for-measurements"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["daphne", "channels", "bench.peers.tutorial.chat"]
ASGI_APPLICATION = "bench.peers.tutorial.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(os.environ["TUTORIAL_FOLDER"]) / "tutorial.sqlite3",
        "OPTIONS": {  # As durable as the chat, and the fastest way to be so.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        },
    }
}
_redis = os.environ.get("TUTORIAL_REDIS", "")
CHANNEL_LAYERS = {
    "default": (
        {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [{"address": _redis, "socket_timeout": 15}]},
        }
        if _redis
        else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    )
}
