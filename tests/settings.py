"""The project's settings with lower costs, not other mechanisms."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ.setdefault("SECRET_KEY", "only-for-tests-0123456789-abcdefghijklmnopqrstuvwxyz")
os.environ.setdefault("ENV_FILE", "/nonexistent")
os.environ.setdefault("VAR_DIR", tempfile.mkdtemp(prefix="securechat-tests-"))
os.environ.setdefault("PUBLIC_ORIGIN", "https://testserver")
os.environ.setdefault("ALLOWED_HOSTS", "testserver")
os.environ.setdefault("KEYS_FILE", str(Path(os.environ["VAR_DIR"]) / "keys.json"))

from securechat.settings import *  # noqa: E402, F403 - a settings file imports settings
from securechat.settings import STORAGES  # noqa: E402

PASSWORD_HASHERS = ["tests.hashers.CheapPasswordHasher", "accounts.hashers.LegacyPasswordHasher"]
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
