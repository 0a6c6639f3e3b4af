"""The clients of some people in one process: each writes to a friend, reads everything, and checks all of it.

python -m bench.chaos.client ROLES.json; it ends with its parent only, and may be killed at any moment. The next one goes on from
the journals: what was written and not acknowledged is asked for and sent again, under the same client ids.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from uuid import UUID

from websockets.exceptions import InvalidHandshake

from bench.chaos.checker import digest_of
from bench.chaos.journal import Journal
from bench.chaos.outbox import Item, Outbox, Sealed
from tests.peer import crypto, wire
from tests.peer.client import HISTORY_ROWS, Peer, now_ms, row_of
from tests.peer.conversation import Conversation, Row
from tests.peer.crypto import Refused, WriterEnd
from tests.peer.socket import Frame, Socket, SocketClosed, SocketRefused
from tests.peer.wire import Content, Malformed, from_base64url, to_base64url

CONNECT_SECONDS = 5.0
PING_SECONDS = 2.0
SILENCE_SECONDS = 10.0
"""After so long without an answer to what was sent the connection is given up."""
LONGEST_PAUSE_SECONDS = 1.0
HEAD_EVERY_SECONDS = 1.0
UNAVAILABLE_PAUSE_SECONDS = 0.5
LOOK_UP_CLIENT_IDS = 50
_LATE_ROW_SECONDS = 0.02
_LOOK_SECONDS = 0.25


@dataclass(frozen=True)
class Role:
    """One person's part.

    ``state`` is a file that ``Peer.save`` wrote, ``server`` the number of the one that is ``at``; ``allowance``: see ``Outbox``.
    """

    state: str
    journal: str
    friend: str
    at: str
    server: int
    allowance: str
    window: int
    seed: int
    catches_up: bool = True
    """False is a fault, for the checker's own test: after a gap or a reconnection the history is not asked."""


class Person(Peer):
    """Lives until it is killed, over any number of connections. Times are monotonic, and the same in all processes."""

    role: Role
    journal: Journal
    outbox: Outbox
    random: Random

    def __init__(self, origin: str, ca_file: Path | str) -> None:
        super().__init__(origin, ca_file)
        self._early: dict[int, Row] = {}
        self._behind = asyncio.Event()
        self._hashes: list[bytes] = [b""]
        self._connected_at = 0.0

    def take_part(self, role: Role) -> None:
        self.role = role
        self.journal = Journal(Path(role.journal))
        self.random = Random(f"{role.seed}/{self.name}/{len(self.journal.earlier)}")
        self.outbox = Outbox(self.journal, name=self.name, allowance=Path(role.allowance), random=self.random)
        self.journal.write("began", at=time.monotonic())

    async def live(self) -> None:
        """Ends when a check fails, as a browser's conversation does."""
        attempt = 0
        while True:
            before = self._connected_at
            try:
                await self._one_connection()
            except (OSError, TimeoutError, InvalidHandshake, SocketClosed, SocketRefused) as error:
                self.journal.write("disconnected", at=time.monotonic(), why=f"{type(error).__name__} {error}")
            except (Refused, Malformed) as alarm:
                self.journal.write("alarm", at=time.monotonic(), code=str(alarm))
                return
            attempt = 1 if self._connected_at > before else attempt + 1
            await asyncio.sleep(self.random.random() * min(LONGEST_PAUSE_SECONDS, 0.1 * 2**attempt))

    async def _one_connection(self) -> None:
        self._socket = await asyncio.wait_for(
            Socket.open(
                self.origin,
                cookie=self.cookie,
                tls=self._http.tls,
                at=self.role.at,
                ping_seconds=PING_SECONDS,
            ),
            CONNECT_SECONDS,
        )
        try:
            await self.socket.next_event("welcome", seconds=CONNECT_SECONDS)
            self._connected_at = time.monotonic()
            self.journal.write("connected", at=self._connected_at)
            await self._settle_in()
            await _first_to_end(
                self._listen(),
                self._notice_the_end(),
                Sending(self).run(),
                self._keep_up(),
                self._sign_heads(),
            )
        finally:
            await self.socket.drop()

    async def _settle_in(self) -> None:
        """What a browser does after every welcome."""
        is_first = not self.conversations
        conversation = await self.open_conversation(self.role.friend)
        if is_first:
            self._remember(conversation)
        if is_first or self.role.catches_up:
            await self.catch_up()
            head = (await self.summary(self.role.friend))["heads"][1 - conversation.side]
            if head is not None:
                conversation.checked_head(from_base64url(head))

    @property
    def conversation(self) -> Conversation:
        return self.conversations[self.role.friend.lower()]

    # The log

    def _remember(self, conversation: Conversation) -> None:
        """How far the process before this one had checked."""
        for entry in self.journal.earlier:
            if entry["event"] == "delivered":
                hash_of_envelope = bytes.fromhex(entry["envelope_hash"])
                self._hashes.append(hash_of_envelope)
                conversation.hashes.append(bytes.fromhex(entry["log_hash"]))
                device, writer, seq = entry["writer"]
                conversation.writers[bytes.fromhex(writer)] = WriterEnd(
                    bytes.fromhex(device), seq, hash_of_envelope
                )

    def take(self, row: Row, how: str) -> None:
        """A row in its turn; one that is early waits for those before it. Raises ``Refused``."""
        while True:
            n = self.conversation.log.n
            if row.n <= n:
                if crypto.envelope_hash(row.envelope) != self._hashes[row.n]:
                    raise Refused("log_mismatch")
                return
            if row.n > n + 1 or not self._append(row, how):
                self._early[row.n] = row
                self._behind.set()
                return
            following = self._early.pop(row.n + 1, None)
            if following is None:
                return
            row = following

    def _append(self, row: Row, how: str) -> bool:
        """False where it belongs to an epoch that is not known here yet."""
        try:
            message = self.conversation.take_row(row)
        except Refused as refusal:
            if refusal.code != "unknown_epoch":
                raise
            return False
        header = wire.decode_envelope(row.envelope).header
        self._hashes.append(message.hash)
        self.journal.write(
            "delivered",
            n=row.n,
            client_id=str(row.client_id),
            mine=message.mine,
            digest=digest_of(message.text),
            envelope_hash=message.hash.hex(),
            log_hash=self.conversation.log.hash.hex(),
            writer=[header.device.hex(), header.writer.hex(), header.seq],
            how=how,
        )
        return True

    async def catch_up(self) -> None:
        """To the end of the log. Raises ``Refused`` also where that ends before what was told of already."""
        conversation, told_of = self.conversation, max(self._early, default=0)
        await self._fetch_epochs(conversation)
        more = True
        while more:
            known = conversation.log
            page = await self.socket.request(
                "history.get",
                conversation=str(conversation.id),
                direction="after",
                n=known.n,
                limit=HISTORY_ROWS,
            )
            crypto.check_log_hash(known, from_base64url(page["before_hash"]))
            rows = [row_of(frame) for frame in page["rows"]]
            if page["last_n"] < known.n or (not rows and page["last_n"] > known.n):
                raise Refused("history_gap")
            if rows and rows[0].n != known.n + 1:
                raise Refused("log_mismatch")
            for row in rows:
                self.take(row, "history")
            more = page["more"]
        if conversation.log.n < told_of:
            raise Refused("history_gap")
        self._early = {n: row for n, row in self._early.items() if n > conversation.log.n}

    async def _keep_up(self) -> None:
        """Rows of another process may come a moment after one's own answer: a gap that closes by itself is none."""
        while True:
            await self._behind.wait()
            self._behind.clear()
            await asyncio.sleep(_LATE_ROW_SECONDS)
            if self._early and self.role.catches_up:
                await self.catch_up()

    # What is told

    async def _listen(self) -> None:
        while True:
            self._hear(await self.socket.events.get())

    async def _notice_the_end(self) -> None:
        raise SocketClosed(await self.socket.closed())

    def _hear(self, frame: Frame) -> None:
        match frame["type"]:
            case "envelope.new":
                self.take(row_of(frame["row"]), "push")
            case "epoch.new":
                self._behind.set()
            case "head.new" if frame["side"] != self.conversation.side:
                self.conversation.checked_head(from_base64url(frame["head"]))

    # What is sent

    def seal(self, item: Item) -> Sealed:
        conversation = self.conversation
        epoch = conversation.newest_epoch
        assert epoch is not None
        envelope, conversation.writer = crypto.seal_envelope(
            epoch=epoch,
            side=conversation.side,
            chains=conversation.chains,
            device=self.account.device,
            client_id=item.client_id.bytes,
            writer=conversation.writer,
            log=conversation.log,
            vault_version=self.account.version,
            content=Content(now_ms(), item.text),
        )
        return Sealed(envelope, epoch.epoch)

    def acknowledged(self, item: Item, n: int, how: str) -> None:
        self.journal.write(
            "acknowledged",
            client_id=str(item.client_id),
            n=n,
            at=time.monotonic(),
            connected_at=self._connected_at,
            server=self.role.server,
            how=how,
        )

    async def _sign_heads(self) -> None:
        while True:
            await asyncio.sleep(HEAD_EVERY_SECONDS)
            if self.conversation.log.n > self.conversation.signed_n:
                await self.sign_head(self.role.friend)


class Sending:
    """A person's sending over one connection: so many under way at once, in order, the same bytes again after a break."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self._outbox = person.outbox
        self._under_way: dict[UUID, float] = {}
        self._refusal: str | None = None
        self._alarm: Refused | None = None
        self._changed = asyncio.Event()

    async def run(self) -> None:
        while True:
            self._outbox.fill(self._person.role.window)
            if self._refusal is not None and not self._under_way:
                await self._recover(self._refusal)
                self._refusal = None
            item = self._next()
            if item is None:
                await self._wait()
            elif await self._is_ready(item):
                await self._send(item)

    def _next(self) -> Item | None:
        """After a refusal nothing is sent until it is known what became of everything under way."""
        if self._refusal is not None or len(self._under_way) >= self._person.role.window:
            return None
        return next((item for item in self._outbox.items if item.client_id not in self._under_way), None)

    async def _wait(self) -> None:
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._changed.wait()
        if self._alarm is not None:
            raise self._alarm
        if self._under_way and time.monotonic() - min(self._under_way.values()) > SILENCE_SECONDS:
            raise TimeoutError("no answer")

    async def _is_ready(self, item: Item) -> bool:
        """Sealed, that is; False where the server turned out to have it."""
        if item.may_be_stored:
            await self._look_up([one for one in self._outbox.items if one.may_be_stored][:LOOK_UP_CLIENT_IDS])
            return False
        if item.sealed is None:
            item.sealed = self._person.seal(item)
        return True

    async def _look_up(self, items: list[Item]) -> None:
        person = self._person
        found = await person.socket.request(
            "envelopes.lookup",
            conversation=str(person.conversation.id),
            client_ids=[str(item.client_id) for item in items],
        )
        numbers = {UUID(one["client_id"]): one["n"] for one in found["items"]}
        for item in items:
            if item.client_id in numbers:
                self._acknowledged(item, numbers[item.client_id], "lookup")
            item.may_be_stored = False

    async def _send(self, item: Item) -> None:
        person, sealed = self._person, item.sealed
        assert sealed is not None
        self._under_way[item.client_id] = time.monotonic()
        answer = await person.socket.post(
            "envelope.send",
            conversation=str(person.conversation.id),
            client_id=str(item.client_id),
            epoch=sealed.epoch,
            envelope=to_base64url(sealed.envelope),
        )
        answer.add_done_callback(partial(self._answered, item))

    def _answered(self, item: Item, answer: asyncio.Future[Frame]) -> None:
        self._changed.set()
        self._under_way.pop(item.client_id, None)
        if answer.cancelled():
            return
        error = answer.exception()
        if isinstance(error, SocketRefused):
            self._person.journal.write("refused", at=time.monotonic(), code=error.code)
            self._refusal = self._refusal or error.code
        elif error is None:
            sealed, frame = item.sealed, answer.result()
            assert sealed is not None
            self._acknowledged(item, frame["n"], "answer")
            side = self._person.conversation.side
            row = Row(frame["n"], side, item.client_id, sealed.envelope, frame["stored_at"])
            try:
                self._person.take(row, "answer")
            except Refused as alarm:
                self._alarm = alarm

    def _acknowledged(self, item: Item, n: int, how: str) -> None:
        self._person.acknowledged(item, n, how)
        self._outbox.items.remove(item)

    async def _recover(self, refusal: str) -> None:
        match refusal:
            case "too_fast" | "unavailable":
                await asyncio.sleep(UNAVAILABLE_PAUSE_SECONDS)
            case "stale_epoch" | "writer_gap" | "client_id_reused":
                await self._person.catch_up()
                self._person.conversation.writer = crypto.new_writer()
                self._outbox.doubt()
            case _:
                raise Refused(refusal)


async def _first_to_end(*works: Coroutine[object, object, None]) -> None:
    """Raises what the first one raised; the others are called off."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _live(roles: Iterable[Role]) -> None:
    people = []
    for role in roles:
        person = Person.load(role.state)
        assert isinstance(person, Person)
        person.take_part(role)
        people.append(person)
    parent = os.getppid()
    living = asyncio.gather(*(person.live() for person in people))
    while os.getppid() == parent and not living.done():
        await asyncio.wait([living], timeout=1)
    living.cancel()
    with suppress(asyncio.CancelledError):
        await living


def main() -> None:
    roles = [Role(**role) for role in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))]
    asyncio.run(_live(roles))


if __name__ == "__main__":
    main()
