"""`manage.py serve` with autobahn's own parser and writer of frames: what the short way for them is worth.

python -m bench.stock_frames, in that server's environment, as the wrapper of its command, which it then is. Nothing of this
is in the product.
"""

from __future__ import annotations

import os


def install() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "securechat.settings")
    import django

    django.setup()
    from securechat.serving import reactor  # noqa: F401 - before Twisted's own.
    from securechat.serving.guards import GuardedWebSocketProtocol

    def take_nothing(self: GuardedWebSocketProtocol, data: bytes) -> int:
        return 0

    GuardedWebSocketProtocol._take_texts = take_nothing  # type: ignore[method-assign]
    GuardedWebSocketProtocol.send_text = GuardedWebSocketProtocol.serverSend  # type: ignore[method-assign]


def main() -> None:
    install()
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", "serve"])


if __name__ == "__main__":
    main()
