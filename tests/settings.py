"""The project's settings with lower costs, not other mechanisms."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path


def _folder(name: str) -> str:
    """Made anew for this run, and gone after it."""
    path = tempfile.mkdtemp(prefix=f"securechat-{name}-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


os.environ.setdefault("SECRET_KEY", "only-for-tests-0123456789-abcdefghijklmnopqrstuvwxyz")
os.environ.setdefault("ENV_FILE", "/nonexistent")
if "VAR_DIR" not in os.environ:
    os.environ["VAR_DIR"] = _folder("tests")
os.environ.setdefault("PUBLIC_ORIGIN", "https://testserver")
os.environ.setdefault("ALLOWED_HOSTS", "testserver")
if "STATIC_ROOT" not in os.environ:
    os.environ["STATIC_ROOT"] = _folder("static")
os.environ.setdefault("KEYS_FILE", str(Path(os.environ["VAR_DIR"]) / "keys.json"))

from securechat.settings import *  # noqa: E402, F403 - a settings file imports settings
from securechat.settings import DATABASES, STORAGES  # noqa: E402 - what they read is set above

PASSWORD_HASHERS = ["tests.hashers.CheapPasswordHasher", "accounts.hashers.LegacyPasswordHasher"]
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, as threads that share a database in memory lock each other out of it.
    DATABASES["default"]["TEST"] = {"NAME": str(Path(os.environ["VAR_DIR"]) / "tests.sqlite3")}
