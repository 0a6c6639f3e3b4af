"""Two people as browsers make them: signed up over HTTPS, friends through the pages, an epoch over the socket."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from tests.peer.client import Peer

_PASSWORD = "Passw0rd!"


async def befriended(*, origin: str, ca_file: Path) -> tuple[Peer, Peer]:
    """Both disconnected, with their sessions. Who asked is first, and side 0."""
    prefix = f"bench{secrets.token_hex(4)}"
    first, second = Peer(origin, ca_file), Peer(origin, ca_file)
    await asyncio.gather(first.sign_up(f"{prefix}a", _PASSWORD), second.sign_up(f"{prefix}b", _PASSWORD))
    await first.add_friend(second.name)
    await second.approve([first.name])
    await asyncio.gather(first.connect(), second.connect())
    try:
        await first.new_epoch(second.name)
        conversation = await second.open_conversation(first.name)
        assert conversation.side == 1
    finally:
        await asyncio.gather(first.disconnect(), second.disconnect())
    return first, second
