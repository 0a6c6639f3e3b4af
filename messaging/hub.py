"""The sockets of this process: who may hear of what, and how they are told.

What this process stored goes to its own sockets directly. Other processes ring (``securechat.events``), and what they mean
is then read from the database. The message path needs no Redis: without it the database is asked what others stored.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from accounts.models import User
from accounts.services.sessions import note_seen
from messaging import doorbell, news, protocol, sessions
from messaging.catch_up import CatchUp
from messaging.connection import CloseCode, Connection
from messaging.errors import ConversationNotFound
from messaging.services import batch_rows, epochs, heads
from messaging.services.conversations import Membership, membership_of, milliseconds, summary_of
from messaging.services.delivery import Outcome
from messaging.threads import DatabaseThreads
from messaging.watch import PresenceWatch
from messaging.writer import Waiting, Writer
from securechat import events, metrics
from securechat.errors import DomainError
from securechat.logs import refused
from securechat.ratelimit import Buckets
from securechat.redis import redis_state

logger = logging.getLogger(__name__)
T = TypeVar("T")
_BEGIN_AGAIN_SECONDS = 1.0
_CATCH_UP_ROWS = (
    50  # Of one conversation; where more were missed the last one makes browsers ask for the rest.
)
_SPANS_AT_ONCE = 100

_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub | None] = WeakKeyDictionary()


def current_hub() -> Hub | None:
    """The hub of the running event loop; its work begins with the first call. ``None`` after ``shut_down``."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub(loop)
    return _hubs[loop]


async def shut_down() -> None:
    """Stores what waits and closes this loop's sockets with 1012. There is no hub in this loop any more."""
    loop = asyncio.get_running_loop()
    hub, _hubs[loop] = _hubs.get(loop), None
    if hub is not None:
        await hub.close()


class _Audience:
    """A conversation, and the sockets here that may read it."""

    __slots__ = ("id", "sockets", "text", "told")

    def __init__(self, id: UUID) -> None:
        self.id, self.text = id, str(id)
        self.sockets: set[Connection] = set()
        self.told = 0  # The last ``n`` that they were told of.


class Hub:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._of_user: defaultdict[int, set[Connection]] = defaultdict(set)
        self._audiences: dict[bytes, _Audience] = {}  # Of each conversation that has a socket here.
        self._watchers: defaultdict[int, set[Connection]] = defaultdict(set)
        self._readers = DatabaseThreads(settings.CHAT_DATABASE_THREADS, "chat")
        self.writer = Writer(self._deliver)
        self._presence = PresenceWatch(self._tell_presence)
        self._envelopes_sent = Buckets()
        self._catch_up = CatchUp(look=self._look, visit=self._visit, everybody=lambda: tuple(self._of_user))
        self._notes: asyncio.Queue[events.Event] = asyncio.Queue(settings.HUB_QUEUE_EVENTS)
        self._rings: deque[events.Event] = deque()
        self._something_to_ring = asyncio.Event()
        self._has_said_hello = False
        self._stop_hearing = events.listen(self._hear_own)
        work = (
            self.writer.run,
            self._read_notes,
            self._listen,
            self._catch_up.run,
            self._ring,
            self._keep_presence,
            self._keep_sessions,
        )
        # In a context of their own: their lines of the log are not of the socket that came first.
        self._tasks = [loop.create_task(_keep_doing(task), context=Context()) for task in work]

    # Sockets

    def add(self, connection: Connection) -> bool:
        """False where this person has too many already."""
        own = self._of_user[connection.user_id]
        if len(own) >= settings.MAX_SOCKETS_PER_USER:
            return False
        # One for all sockets that somebody has in this process: a look into Redis would cost more than an envelope.
        other = next(iter(own), None)
        if other is not None:
            connection.envelopes_sent = other.envelopes_sent
        else:
            rate = {"limit": settings.ENVELOPE_BURST, "per_second": settings.ENVELOPES_PER_SECOND}
            connection.envelopes_sent = self._envelopes_sent.of(connection.user_id, **rate)
        own.add(connection)
        metrics.SOCKETS.inc()
        return True

    async def introduce(self, connection: Connection) -> None:
        """Learns what the connection may see and says welcome; from then on it misses nothing."""
        connection.missed_an_event = True
        while connection.missed_an_event:
            connection.missed_an_event = False
            introduction = await self.read(news.introduction, connection.user)
            await self._presence.join(connection.presence_key)
            await self._presence.look_at(
                {m.peer_id for m in introduction.memberships.values() if m.open and m.peer_id}
            )
        for conversation, membership in introduction.memberships.items():
            is_first = conversation.bytes not in self._audiences
            self._adopt(connection, membership)
            if is_first:  # A browser asks for everything when it is welcome.
                self._audiences[conversation.bytes].told = introduction.last_ns.get(conversation, 0)
        connection.mute = introduction.mute
        connection.is_ready = True
        connection.send_text(
            protocol.welcome_text(
                name=connection.user.get_username(),
                server_time=milliseconds(timezone.now()),
                requests=introduction.requests,
                presence=self._presence_of_friends(connection),
            )
        )

    async def remove(self, connection: Connection, *, may_come_back: bool) -> None:
        """Friends are told at once of one that may not, and otherwise after a grace."""
        _discard(self._of_user, connection.user_id, connection)
        metrics.SOCKETS.inc(-1)
        for membership in connection.memberships.values():
            self._leave(membership.conversation.bytes, connection)
            if membership.peer_id is not None:
                _discard(self._watchers, membership.peer_id, connection)
        grace = settings.PRESENCE_GRACE if may_come_back else timedelta(0)
        await self._presence.leave([connection.presence_key], grace=grace)

    def adopt(self, user_id: int, membership: Membership) -> None:
        """What was just read about one conversation of this person holds for all their sockets here."""
        for connection in self._ready(user_id):
            self._adopt(connection, membership)

    def _adopt(self, connection: Connection, membership: Membership) -> None:
        connection.learn(membership)
        id_ = membership.conversation.bytes
        if id_ not in self._audiences:
            self._audiences[id_] = _Audience(membership.conversation)
        self._audiences[id_].sockets.add(connection)
        if membership.peer_id is not None:
            if membership.open:
                self._watchers[membership.peer_id].add(connection)
            else:
                _discard(self._watchers, membership.peer_id, connection)

    def _leave(self, conversation: bytes, connection: Connection) -> None:
        audience = self._audiences.get(conversation)
        if audience is not None:
            audience.sockets.discard(connection)
            if not audience.sockets:
                del self._audiences[conversation]

    def _ready(self, user_id: int) -> list[Connection]:
        """Who is not ready yet reads everything once more instead."""
        own = self._of_user.get(user_id, ())
        for connection in own:
            connection.missed_an_event = True
        return [connection for connection in own if connection.is_ready]

    def _everybody(self) -> list[Connection]:
        return [connection for own in self._of_user.values() for connection in own]

    # What sockets ask for

    async def read(self, function: Callable[..., T], *arguments: object) -> T:
        """Calls a service in a thread with a database connection."""
        return await self._readers.run(function, *arguments)

    def tell(
        self, conversation: UUID, frame: protocol.ServerFrame, *, but: Connection | None, ring: events.Event
    ) -> None:
        """Every socket of both people, here and, by ringing, in other processes."""
        self._send_to(conversation, frame, but)
        self._ring_later(ring)

    def _send_to(
        self, conversation: UUID, frame: protocol.ServerFrame, but: Connection | None = None
    ) -> None:
        audience = self._audiences.get(conversation.bytes)
        if audience is not None:
            text = protocol.encode(frame)
            for connection in audience.sockets:
                if connection is not but:
                    connection.send_text(text)

    # What the writer stored

    def _deliver(self, done: Sequence[tuple[Waiting, Outcome]]) -> None:
        delivered = new = 0
        spans: dict[bytes, tuple[UUID, int, int]] = {}
        again: list[tuple[UUID, int, int]] = []
        moment, stored_at = None, 0
        for waiting, outcome in done:
            if isinstance(outcome, DomainError):
                waiting.sender.send(protocol.refusal(outcome, waiting.ref))
                refused("envelope", outcome.code, connection=waiting.sender.log_id)
                continue
            submission, n = waiting.submission, outcome.n
            header = submission.header
            audience = self._audiences.get(header.conversation) or _Audience(UUID(bytes=header.conversation))
            client_id = protocol.id_text(header.client_id)
            if outcome.stored_at is not moment:  # One for all that are new in a batch.
                moment, stored_at = outcome.stored_at, milliseconds(outcome.stored_at)
            waiting.sender.send_text(
                protocol.stored_text(
                    ref=waiting.ref,
                    conversation=audience.text,
                    client_id=client_id,
                    n=n,
                    stored_at=stored_at,
                )
            )
            if outcome.new:
                new += 1
                span = spans.get(header.conversation)
                spans[header.conversation] = (audience.id, span[1] if span else n, n)
            else:  # Who stored it may have died before anybody was told.
                again.append((audience.id, n, n))
                if n <= audience.told:
                    continue
            others = [one for one in audience.sockets if one is not waiting.sender]
            if others:
                text = protocol.new_text(
                    conversation=audience.text,
                    n=n,
                    side=submission.side,
                    client_id=client_id,
                    envelope=submission.envelope,
                    stored_at=stored_at,
                )
                for connection in others:
                    connection.send_text(text)
                delivered += len(others)
        metrics.ENVELOPES_STORED.inc(new)
        metrics.ENVELOPES_DELIVERED.inc(delivered)
        if again:
            metrics.ENVELOPES_REPEATED.inc(len(again))
        rows = (*spans.values(), *again)
        if rows:
            self._note_as_told(rows)
            self._ring_later(events.EnvelopesStored(rows))

    def _note_as_told(self, spans: Iterable[tuple[UUID, int, int]]) -> None:
        """Of one that a browser was not told of before the last it sees the gap, and asks."""
        for conversation, _, last in spans:
            audience = self._audiences.get(conversation.bytes)
            if audience is not None:
                audience.told = max(last, audience.told)

    # Other processes

    def _ring_later(self, event: events.Event) -> None:
        """Nobody waits for Redis: where too much waits to be rung, the others are told to look for themselves."""
        if len(self._rings) >= settings.HUB_QUEUE_EVENTS:
            self._rings.clear()
            event = events.RingsMissed(seconds=0)
        self._rings.append(event)
        self._something_to_ring.set()

    async def _ring(self) -> None:
        while True:
            await self._something_to_ring.wait()
            self._something_to_ring.clear()
            while self._rings:
                await events.apublish(self._rings.popleft())

    async def _listen(self) -> None:
        await doorbell.listen(self._note, self._listens)

    def _listens(self, listens: bool) -> None:
        """The one that was here before may have died with something stored and acknowledged that it had not rung yet."""
        self._catch_up.listens(listens)
        if listens and not self._has_said_hello:
            self._has_said_hello = True
            self._ring_later(events.RingsMissed(seconds=0))

    def _hear_own(self, event: events.Event) -> None:
        """In the thread that published it. What this hub rang itself it has already delivered."""
        told_already = events.EnvelopesStored | events.EpochAppended | events.HeadStored | events.RingsMissed
        if not isinstance(event, told_already):
            self._loop.call_soon_threadsafe(self._note, event)

    def _note(self, event: events.Event) -> None:
        try:
            self._notes.put_nowait(event)
        except asyncio.QueueFull:
            self._catch_up.missed()

    async def _read_notes(self) -> None:
        while True:
            event = await self._notes.get()
            try:
                await self._follow(event)
            except DatabaseError as error:
                logger.error("The database did not say what an event means (%s).", type(error).__name__)
                self._catch_up.missed()

    async def _follow(self, event: events.Event) -> None:
        match event:
            case events.SessionsChanged(user_id=user_id):
                await self._check_sessions(self._of_user.get(user_id, ()))
            case events.FriendshipChanged(user_ids=user_ids, conversation=conversation):
                await self._friendship_changed(user_ids, conversation)
            case events.RequestsChanged(user_id=user_id):
                await self._requests_changed(user_id)
            case events.KeysChanged(user_id=user_id):
                self._keys_changed(user_id)
            case events.EnvelopesStored(spans=spans):
                await self._envelopes_stored(spans)
            case events.EpochAppended(conversation=conversation, epoch=epoch):
                await self._epoch_appended(conversation, epoch)
            case events.HeadStored(conversation=conversation, side=side):
                await self._head_stored(conversation, side)
            case events.PresenceChanged(user_ids=user_ids):
                self._presence.look_soon(user_ids)
            case events.RingsMissed(seconds=seconds):
                self._catch_up.missed(timedelta(seconds=seconds))

    async def _friendship_changed(self, user_ids: Iterable[int], conversation: UUID) -> None:
        """First all sockets belong to it, then they are told how it is: what is stored meanwhile is in one or the other."""
        here = [user_id for user_id in user_ids if self._ready(user_id)]
        for user_id in here:
            await self._membership_changed(user_id, conversation)
        for user_id in here:
            for connection in self._ready(user_id)[:1]:
                await self._tell_summary(connection.user, conversation)

    async def _membership_changed(self, user_id: int, conversation: UUID) -> None:
        for connection in self._ready(user_id)[:1]:
            with suppress(ConversationNotFound):
                membership = await self.read(membership_of, connection.user, conversation)
                self.adopt(user_id, membership)
                if membership.open and membership.peer_id is not None:
                    await self._presence.look_at([membership.peer_id])

    async def _tell_summary(self, user: User, conversation: UUID) -> None:
        with suppress(ConversationNotFound):
            summary = await self.read(summary_of, user, conversation)
            for connection in self._ready(user.pk):
                connection.send(protocol.ConversationChanged(summary=summary))

    async def _requests_changed(self, user_id: int) -> None:
        connections = self._ready(user_id)
        if connections:
            count = await self.read(news.waiting_requests, connections[0].user)
            for connection in connections:
                connection.send(protocol.Requests(count=count))

    def _keys_changed(self, user_id: int) -> None:
        for connection in self._ready(user_id):
            connection.standing = None
            connection.send(protocol.KeysChanged(conversation=None))
        for connection in tuple(self._watchers.get(user_id, ())):
            for membership in connection.open_with(user_id):
                connection.send(protocol.KeysChanged(conversation=membership.conversation))

    async def _envelopes_stored(self, spans: Iterable[tuple[UUID, int, int]]) -> None:
        here = [span for span in spans if span[0].bytes in self._audiences]
        for start in range(0, len(here), _SPANS_AT_ONCE):
            some = here[start : start + _SPANS_AT_ONCE]
            for row in await self.read(batch_rows.in_spans, some):
                audience = self._audiences.get(row.conversation.bytes)
                if audience is not None:
                    text = protocol.new_text(
                        conversation=audience.text,
                        n=row.n,
                        side=row.side,
                        client_id=str(row.client_id),
                        envelope=row.envelope,
                        stored_at=milliseconds(row.stored_at),
                    )
                    for connection in audience.sockets:
                        connection.send_text(text)
            self._note_as_told(some)

    async def _epoch_appended(self, conversation: UUID, epoch: int) -> None:
        if conversation.bytes in self._audiences:
            record = await self.read(epochs.record_of, conversation, epoch)
            if record is not None:
                self._send_to(
                    conversation, protocol.EpochNew(conversation=conversation, epoch=epoch, record=record)
                )

    async def _head_stored(self, conversation: UUID, side: int) -> None:
        if conversation.bytes in self._audiences:
            head = await self.read(heads.head_of, conversation, side)
            if head is not None:
                self._send_to(
                    conversation,
                    protocol.HeadNew(conversation=conversation, side=1 if side else 0, head=head),
                )

    # What was not heard

    async def _look(self, since: datetime) -> None:
        """Tells of what was stored since then, by the clocks of those who stored it; a visit finds it by its number."""
        await self._tell_what_was_missed(await self.read(news.active_since, since))

    async def _tell_what_was_missed(self, last_ns: Mapping[UUID, int]) -> None:
        """Tells of envelopes that are stored and of which no socket here was told."""
        spans = []
        for conversation, last in last_ns.items():
            audience = self._audiences.get(conversation.bytes)
            if audience is not None and audience.told < last:
                is_much = last - audience.told > _CATCH_UP_ROWS
                spans.append((conversation, last if is_much else audience.told + 1, last))
        await self._envelopes_stored(spans)

    async def _visit(self, user_id: int) -> None:
        """Reads again what this person's sockets know."""
        await self._requests_changed(user_id)
        for connection in self._ready(user_id):
            connection.standing = None
        for connection in self._ready(user_id)[:1]:
            now = await self.read(news.introduction, connection.user)
            for membership in now.memberships.values():
                if connection.memberships.get(membership.conversation.bytes) != membership:
                    await self._friendship_changed([user_id], membership.conversation)
            await self._tell_what_was_missed(now.last_ns)

    # What goes by the clock

    async def _keep_presence(self) -> None:
        renew_at = self._loop.time()
        while True:
            if redis_state.is_away:
                renew_at = 0.0  # At once when it is back: it may have forgotten everybody.
            elif self._loop.time() >= renew_at:
                renew_at = self._loop.time() + settings.PRESENCE_RENEW.total_seconds()
                await self._presence.renew([c.presence_key for c in self._everybody() if c.is_ready])
                self._presence.keep_only(self._watchers.keys())
                await self._presence.look_at(tuple(self._watchers))
            await asyncio.sleep(settings.PRESENCE_SWEEP.total_seconds())
            await self._presence.sweep()

    async def _keep_sessions(self) -> None:
        while True:
            await asyncio.sleep(settings.SESSION_CHECK.total_seconds())
            try:
                await self._check_sessions(self._everybody())
                await self.read(
                    note_seen, {connection.sign_in.session_key for connection in self._everybody()}
                )
            except DatabaseError as error:
                logger.error("The database did not say which sessions stand (%s).", type(error).__name__)

    async def _check_sessions(self, connections: Collection[Connection]) -> None:
        connections = tuple(connections)
        if connections:
            asked = {connection.sign_in for connection in connections}
            standing, mutes = await self.read(sessions.look, asked)
            for connection in connections:
                connection.mute = mutes.get(connection.user_id)
                if connection.sign_in not in standing:
                    connection.close(CloseCode.SIGNED_OUT)

    def _tell_presence(self, user_id: int, online: bool | None) -> None:
        for connection in tuple(self._watchers.get(user_id, ())):
            for membership in connection.open_with(user_id):
                connection.send(protocol.Presence(conversation=membership.conversation, online=online))

    def _presence_of_friends(self, connection: Connection) -> Iterable[tuple[UUID, bool | None]]:
        for membership in connection.memberships.values():
            if membership.open and membership.peer_id is not None:
                yield membership.conversation, self._presence.known(membership.peer_id)

    # The end

    async def close(self) -> None:
        self._stop_hearing()
        for connection in self._everybody():
            connection.close(CloseCode.RESTART)
        keys = [connection.presence_key for connection in self._everybody()]
        await asyncio.gather(self._presence.end(keys), self.writer.drain())
        await _cancel(self._tasks)
        await asyncio.gather(self.writer.close(), self._readers.close())


async def _keep_doing(work: Callable[[], Awaitable[None]]) -> None:
    """A bug in one of these must not end the chat of everybody: it is logged, and the work begins again."""
    while True:
        try:
            await work()
        except Exception:
            logger.exception("The chat's %s failed and begins again.", work.__name__)
            await asyncio.sleep(_BEGIN_AGAIN_SECONDS)


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Asks until all have ended: Redis's client can swallow a cancellation that meets it while it connects."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.2)


def _discard(index: defaultdict[T, set[Connection]], key: T, connection: Connection) -> None:
    connections = index.get(key)
    if connections is not None:
        connections.discard(connection)
        if not connections:
            del index[key]
