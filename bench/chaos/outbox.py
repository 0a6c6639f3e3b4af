"""What a person has written and the server has not acknowledged: durable, in order, each under one client id for good."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from uuid import UUID

from bench.chaos.journal import Journal

_PADDING_CHARACTERS = 200
_AHEAD = 16
"""So many are written, and synced, at once."""


@dataclass(frozen=True)
class Sealed:
    envelope: bytes
    epoch: int


@dataclass(eq=False)
class Item:
    client_id: UUID
    text: str
    may_be_stored: bool
    """An earlier process may have sent it: the server is asked before it is sealed anew."""
    sealed: Sealed | None = None


class Outbox:
    def __init__(self, journal: Journal, *, name: str, allowance: Path, random: Random) -> None:
        """The file ``allowance`` says how many this person may have written in all; it grows from round to round."""
        self._journal, self._name, self._random = journal, name, random
        self._allowance = allowance
        self._written = 0
        waiting: dict[str, Item] = {}
        for entry in journal.earlier:
            if entry["event"] == "written":
                self._written += 1
                client_id = entry["client_id"]
                waiting[client_id] = Item(UUID(client_id), entry["text"], may_be_stored=True)
            elif entry["event"] == "acknowledged":
                waiting.pop(entry["client_id"], None)
        self.items = list(waiting.values())
        """In the order of writing."""

    def fill(self, count: int) -> None:
        """Writes more while fewer than ``count`` wait, as far as is allowed."""
        if len(self.items) >= count:
            return
        new = min(int(self._allowance.read_text(encoding="ascii")) - self._written, _AHEAD)
        for _ in range(new):
            self._written += 1
            client_id = UUID(int=self._random.getrandbits(128), version=4)
            text = f"{self._name} {self._written} {'x' * self._random.randrange(_PADDING_CHARACTERS)}"
            self._journal.write("written", client_id=str(client_id), text=text)
            self.items.append(Item(client_id, text, may_be_stored=False))
        if new > 0:
            self._journal.sync()

    def doubt(self) -> None:
        """What was sealed is sealed again, unless the server turns out to have it."""
        for item in self.items:
            item.may_be_stored, item.sealed = item.may_be_stored or item.sealed is not None, None
