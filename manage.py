#!/usr/bin/env python
"""Django's command-line utility for SecureChat."""

from __future__ import annotations

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "securechat.settings")
    if sys.argv[1:2] == ["doctor"]:
        from securechat.doctor.finding import require_settings

        require_settings(sys.argv[2:])
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
