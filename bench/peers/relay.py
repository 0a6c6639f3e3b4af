"""The chat's own launcher with an application that passes each text on to the room's other sockets and keeps nothing.

python -m bench.peers.relay PORT, in the environment of a prepared server.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from typing import Any

_rooms: defaultdict[str, list[Any]] = defaultdict(list)


async def relay(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    room = _rooms[scope["path"]]
    room.append(send)
    while (message := await receive())["type"] == "websocket.receive":
        for other in room:
            if other is not send:
                await other({"type": "websocket.send", "text": message["text"]})
    room.remove(send)


def main() -> None:
    from daphne.server import Server as _  # noqa: F401 - installs the reactor

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "securechat.settings")
    import django

    django.setup()
    from securechat import certificates
    from securechat.serving.server import GuardedServer, bind
    from securechat.serving.tls import TLSContexts

    GuardedServer(
        relay,
        listener=bind("127.0.0.1", int(sys.argv[1])),
        contexts=TLSContexts(certificates.files()),
        at_the_latest=lambda: None,
    ).run()


if __name__ == "__main__":
    main()
