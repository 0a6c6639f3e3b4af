"""The server's keys, certificates and tables, made where they are missing. One process: starting Django is what takes time."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "securechat.settings")

import django
from django.core.management import CommandError, call_command


def main() -> None:
    django.setup()
    try:
        call_command("init_keys")
        call_command("certs", "init")
        call_command("migrate", interactive=False)
        call_command("check", databases=["default"])
    except CommandError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
