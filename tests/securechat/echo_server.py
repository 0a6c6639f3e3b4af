"""A guarded server around an application that echoes, as a program: prints its port, then what it hears."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import sha256
from typing import Any

import django

from securechat import certificates
from securechat.serving import SEND_AT_ONCE, TAKE_AT_ONCE
from securechat.serving.server import GuardedServer, bind
from securechat.serving.tls import TLSContexts

Message = dict[str, Any]
CHUNK = b"x" * 65_536
CHUNKS = 2_000
go_on = asyncio.Event()


async def application(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    if scope["type"] == "websocket":
        await _echo_frames(scope, receive, send)
        return
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    if scope["path"] == "/large":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await _send_until(
            receive, lambda: send({"type": "http.response.body", "body": CHUNK, "more_body": True})
        )
        return
    body = scope["client"][0].encode() if scope["path"] == "/address" else str(size).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}
    )
    await send({"type": "http.response.body", "body": body})


async def _echo_frames(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if message["text"] == "send":
            message = await _send_until(receive, lambda: send({"type": "websocket.send", "bytes": CHUNK}))
            break
        if message["text"] == "address":
            message = {"text": scope["client"][0]}
        if message["text"] == "take at once":
            scope["extensions"][TAKE_AT_ONCE](partial(_take_at_once, scope["extensions"][SEND_AT_ONCE]))
        if message["text"] == "hold":
            message = {"text": await _digest_after_a_while(receive)}
        await send({"type": "websocket.send", "text": message["text"]})
    print(f"disconnected {message['code']}", flush=True)


def _take_at_once(send_at_once: Callable[[str], bool], text: bytes) -> bool:
    return text.startswith(b"!") and send_at_once(f"at once: {text.decode()}")


async def _digest_after_a_while(receive: Callable[[], Awaitable[Message]]) -> str:
    """Takes nothing until SIGUSR1, then all frames up to "end"."""
    await go_on.wait()
    digest = sha256()
    while (text := (await receive()).get("text", "end")) != "end":
        digest.update(text.encode())
    return digest.hexdigest()


async def _send_until(
    receive: Callable[[], Awaitable[Message]], send_one: Callable[[], Awaitable[None]]
) -> Message:
    """Sends at most ``CHUNKS`` until something comes, and prints how many were taken."""
    sent = 0

    async def send_all() -> None:
        nonlocal sent
        for _ in range(CHUNKS):
            await send_one()
            await asyncio.sleep(0)
            sent += 1

    sending = asyncio.create_task(send_all())
    message = await receive()
    sending.cancel()
    print(f"sent {sent}", flush=True)
    return message


async def say_that_it_ends() -> None:
    print("ending", flush=True)


def main() -> None:
    django.setup()
    certificates.init()
    signal.signal(signal.SIGUSR1, lambda *_: asyncio.get_event_loop().call_soon_threadsafe(go_on.set))
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
