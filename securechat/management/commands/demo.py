"""`manage.py demo`: people to look at. `make demo` is the same where nothing is installed yet."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from securechat.management.explained import ExplainedCommand


class Command(ExplainedCommand):
    help = (
        "Makes Alice, Bobby and Carol: two friends with a conversation, and somebody who asks to be one. They sign up\n"
        "at the running server, or at one that is started for it, with clients that encrypt as a browser does. The passwords\n"
        "are published, so not on a server that others use. A second run changes nothing."
    )
    examples = (
        "examples:\n"
        "  manage.py demo         then log in as one of them in a browser\n"
        "  manage.py demo_attack  and see what a server that lies can do to them\n\n"
        "exit codes: 0 they are there; 1 they could not be made."
    )
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        script = settings.BASE_DIR / "scripts" / "demo.py"
        if not script.exists():
            raise CommandError(
                f"{script} is not there: it comes with the source, from which this was not started."
            )
        self.stdout.flush()
        os.execv(sys.executable, [sys.executable, str(script)])  # noqa: S606 - a file of ours
