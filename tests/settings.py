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
os.environ.setdefault("STATIC_ROOT", tempfile.mkdtemp(prefix="securechat-static-"))
os.environ.setdefault("KEYS_FILE", str(Path(os.environ["VAR_DIR"]) / "keys.json"))

from securechat.settings import *  # noqa: F403 - a settings file imports settings
from securechat.settings import DATABASES, STORAGES

PASSWORD_HASHERS = ["tests.hashers.CheapPasswordHasher", "accounts.hashers.LegacyPasswordHasher"]
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, as threads that share a database in memory lock each other out of it.
    DATABASES["default"]["TEST"] = {"NAME": str(Path(os.environ["VAR_DIR"]) / "tests.sqlite3")}
