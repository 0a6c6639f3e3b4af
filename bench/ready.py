"""What a bench needs of Django before it can import the chat: settings that no ``.env`` of this computer changes."""

from __future__ import annotations

import os

import django


def set_up_django() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "securechat.settings")
    os.environ.setdefault("SECRET_KEY", "only-for-measurements")
    os.environ["ENV_FILE"] = os.devnull
    django.setup()
