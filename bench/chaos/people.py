"""Real people on the site: accounts, friendships, and a first epoch, made over HTTPS and the socket as a browser would."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from tests.peer.client import Peer

_PASSWORD = "Passw0rd!"


@dataclass(frozen=True)
class Pair:
    """``names`` and ``states`` (files of ``Peer.save``) by side of their conversation."""

    conversation: UUID
    names: tuple[str, str]
    states: tuple[Path, Path]


async def make_pairs(count: int, *, origin: str, ca_file: Path, folder: Path) -> list[Pair]:
    return [await _make_pair(f"c{secrets.token_hex(4)}", origin, ca_file, folder) for _ in range(count)]


async def _make_pair(prefix: str, origin: str, ca_file: Path, folder: Path) -> Pair:
    names = (f"{prefix}a", f"{prefix}b")
    first, second = Peer(origin, ca_file), Peer(origin, ca_file)
    await asyncio.gather(first.sign_up(names[0], _PASSWORD), second.sign_up(names[1], _PASSWORD))
    await first.add_friend(names[1])
    await second.approve([names[0]])
    await asyncio.gather(first.connect(), second.connect())
    try:
        await first.new_epoch(names[1])
        conversation = await second.open_conversation(names[0])
        assert conversation.side == 1  # Who asked is 0.
        states = (folder / f"{names[0]}.json", folder / f"{names[1]}.json")
        first.save(states[0])
        second.save(states[1])
        return Pair(conversation.id, names, states)
    finally:
        await asyncio.gather(first.disconnect(), second.disconnect())
