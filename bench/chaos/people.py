"""Real people on the site, each with a file of what their client knows, to go on from in any process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from bench.friendships import befriended


@dataclass(frozen=True)
class Pair:
    """``names`` and ``states`` (files of ``Peer.save``) by side of their conversation."""

    conversation: UUID
    names: tuple[str, str]
    states: tuple[Path, Path]


async def make_pairs(count: int, *, origin: str, ca_file: Path, folder: Path) -> list[Pair]:
    return [await _make_pair(origin, ca_file, folder) for _ in range(count)]


async def _make_pair(origin: str, ca_file: Path, folder: Path) -> Pair:
    first, second = await befriended(origin=origin, ca_file=ca_file)
    states = (folder / f"{first.name}.json", folder / f"{second.name}.json")
    first.save(states[0])
    second.save(states[1])
    (conversation,) = second.conversations.values()
    return Pair(conversation.id, (first.name, second.name), states)
