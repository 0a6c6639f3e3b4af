"""The project itself as an app: its commands, its checks, its template tags."""

from __future__ import annotations

from django.apps import AppConfig

import securechat.serving.reactor  # noqa: F401 - before Daphne's


class SecureChatConfig(AppConfig):
    name = "securechat"
    verbose_name = "SecureChat"

    def ready(self) -> None:
        from securechat import checks  # noqa: F401 - registers them; needs the apps to be loaded
