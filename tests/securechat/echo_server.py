"""A guarded server around an application that echoes, as a program: prints its port, then what it hears."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import django

from securechat import certificates
from securechat.serving.server import GuardedServer, bind
from securechat.serving.tls import TLSContexts

Message = dict[str, Any]


async def application(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    if scope["type"] == "websocket":
        await _echo_frames(receive, send)
        return
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = str(size).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}
    )
    await send({"type": "http.response.body", "body": body})


async def _echo_frames(
    receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
    print(f"disconnected {message['code']}", flush=True)


async def say_that_it_ends() -> None:
    print("ending", flush=True)


def main() -> None:
    django.setup()
    certificates.init()
    plain = bind("127.0.0.1", 0)
    listener = bind("127.0.0.1", 0)
    print(listener.getsockname()[1], plain.getsockname()[1], flush=True)
    GuardedServer(
        application,
        listener=listener,
        redirect_listener=plain,
        contexts=TLSContexts(certificates.files()),
        before_end=[say_that_it_ends],
        at_the_latest=lambda: print("too late", flush=True),
    ).run()


if __name__ == "__main__":
    main()
