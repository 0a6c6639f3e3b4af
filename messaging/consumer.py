"""The socket: takes frames in order, asks the hub or a service, and turns refusals into frames.

A plain receive loop: Channels' dispatch would visit the database before each message, and its JSON consumer drops the socket
when it meets something else than JSON.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, assert_never
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError
from django.http import parse_cookie

from accounts.models.browser_session import Details
from accounts.services import abuse_signals, key_chain
from accounts.services.key_chain import Standing
from accounts.user_agent import describe
from messaging import protocol, sessions
from messaging.connection import CloseCode, Connection, Send
from messaging.errors import MalformedFrame, Muted, UnknownDevice
from messaging.hub import Hub, current_hub
from messaging.services import chains, conversations, epochs, heads, history
from messaging.services.conversations import Membership
from messaging.services.delivery import Submission
from messaging.wire import parse_envelope
from messaging.writer import Waiting
from securechat import events
from securechat.errors import DomainError, TooFast, Unavailable
from securechat.logs import connection_id, new_id, refused
from securechat.ratelimit import Bucket
from securechat.serving import SEND_AT_ONCE, TAKE_AT_ONCE

Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
TakeAtOnce: TypeAlias = Callable[[Callable[[bytes], bool]], None]


async def chat_socket(scope: Any, receive: Receive, send: Send) -> None:
    """The ASGI application of one socket.

    It looks at the session cookie itself: Channels' session middleware would look at the session for each frame sent.
    """
    if (await receive())["type"] != "websocket.connect":
        return
    await send({"type": "websocket.accept"})
    connection_id.set(new_id())
    hub = current_hub()
    if hub is None:
        await _refuse_socket(receive, send, CloseCode.RESTART)
        return
    session_key = _session_key(scope)
    try:
        person = await hub.read(sessions.enter, session_key, _details(scope)) if session_key else None
    except DatabaseError:
        await _refuse_socket(receive, send, CloseCode.RESTART)
        return
    if person is None:
        await _refuse_socket(receive, send, CloseCode.SIGNED_OUT)
        return
    extensions = scope.get("extensions", {})
    connection = Connection(person, session_key, send, extensions.get(SEND_AT_ONCE))
    if not hub.add(connection):
        await _refuse_socket(receive, send, CloseCode.TOO_MANY)
        return
    sending = asyncio.create_task(connection.run())
    code: int | None = None
    try:
        code = await _Socket(hub, connection).run(receive, extensions.get(TAKE_AT_ONCE))
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await hub.remove(connection, may_come_back=code != CloseCode.VANISHED)


def _session_key(scope: Any) -> str:
    headers = [value for name, value in scope["headers"] if name == b"cookie"]
    cookies = parse_cookie("; ".join(value.decode("latin-1") for value in headers))
    return str(cookies.get(settings.SESSION_COOKIE_NAME, ""))


def _details(scope: Any) -> Details:
    """What the server sees of this browser. Channels gives names of headers in lower case."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    host, _port = scope.get("client") or ("", 0)
    return Details(describe(headers), str(host))


async def _refuse_socket(receive: Receive, send: Send, code: CloseCode) -> None:
    refused("socket", code.name.lower())
    await send({"type": "websocket.close", "code": int(code)})
    while (await receive())["type"] != "websocket.disconnect":
        pass


class _Socket:
    def __init__(self, hub: Hub, connection: Connection) -> None:
        self._hub = hub
        self._connection = connection
        self._largest_frame = settings.MAX_FRAME_BYTES
        self._frames_taken = Bucket(limit=settings.FRAME_BURST, per_second=settings.FRAMES_PER_SECOND)
        self._is_answering = False

    async def run(self, receive: Receive, take_at_once: TakeAtOnce | None) -> int | None:
        """Answers the code with which the socket ended."""
        await self._introduce()
        if take_at_once is not None:
            take_at_once(self._take_at_once)
        while (message := await receive())["type"] != "websocket.disconnect":
            if self._connection.is_closing:
                continue
            self._is_answering = True
            await self._take(message.get("text"))
            self._is_answering = False
        return message.get("code")

    def _take_at_once(self, text: bytes) -> bool:
        """An envelope of whom nothing has to be asked, as nearly all are: no task wakes for it. All else waits its turn."""
        connection = self._connection
        if self._is_answering or connection.is_closing or not self._hub.writer.has_room:
            return False
        frame = protocol.sent_envelope(text)
        if frame is None:
            return False
        membership, standing = connection.memberships.get(frame.conversation), connection.standing
        if membership is None or standing is None:
            return False
        if self._frames_taken.take():
            connection.close(CloseCode.TOO_MANY)
            return True
        try:
            self._check_may_send()
            self._hub.writer.add(self._waiting(frame, membership, standing))
        except DomainError as refusal:
            self._refuse(refusal, frame.ref)
        return True

    async def _introduce(self) -> None:
        try:
            await self._hub.introduce(self._connection)
        except DatabaseError:
            self._connection.close(CloseCode.RESTART)

    async def _take(self, text: str | None) -> None:
        if self._frames_taken.take():
            self._connection.close(CloseCode.TOO_MANY)
        elif text is not None and len(text.encode()) > self._largest_frame:
            self._connection.close(CloseCode.TOO_LARGE)
        else:
            await self._answer(text)

    async def _answer(self, text: str | None) -> None:
        frame: protocol.SentEnvelope | protocol.ClientFrame | None
        try:
            frame = (protocol.sent_envelope(text.encode()) if text else None) or protocol.decode_client_frame(
                text
            )
        except MalformedFrame as refusal:
            self._refuse(refusal, protocol.ref_of(text))
            return
        try:
            await self._handle(frame)
        except DomainError as refusal:
            self._refuse(refusal, frame.ref)
        except DatabaseError:
            self._refuse(Unavailable(), frame.ref)

    def _refuse(self, refusal: DomainError, ref: int | None) -> None:
        refused("frame", refusal.code, connection=self._connection.log_id)
        if isinstance(refusal, TooFast):
            abuse_signals.note_too_fast(self._connection.user_id)
        self._connection.send(protocol.refusal(refusal, ref))

    async def _handle(self, frame: protocol.SentEnvelope | protocol.ClientFrame) -> None:
        match frame:
            case protocol.SentEnvelope():
                await self._send_envelope(frame)
            case protocol.SendEnvelope():
                await self._send_envelope(
                    protocol.SentEnvelope(
                        frame.ref,
                        frame.conversation.bytes,
                        frame.client_id.bytes,
                        frame.epoch,
                        frame.envelope,
                    )
                )
            case protocol.ListConversations():
                await self._list_conversations(frame)
            case protocol.GetHistory():
                await self._get_history(frame)
            case protocol.LookUpEnvelopes():
                await self._look_up_envelopes(frame)
            case protocol.GetEpochs():
                await self._get_epochs(frame)
            case protocol.AppendEpoch():
                await self._append_epoch(frame)
            case protocol.GetChain():
                await self._get_chain(frame)
            case protocol.SetHead():
                await self._set_head(frame)
            case protocol.Ping():
                self._connection.send(protocol.Pong(ref=frame.ref))
            case _:
                assert_never(frame)

    async def _send_envelope(self, frame: protocol.SentEnvelope) -> None:
        self._check_may_send()
        membership = await self._membership(frame.conversation)
        standing = await self._standing()
        await self._hub.writer.submit(self._waiting(frame, membership, standing))

    def _check_may_send(self) -> None:
        """Raises ``Muted`` or ``TooFast``."""
        if (mute := self._connection.mute) is not None and mute.is_in_force():
            raise Muted(mute.in_words)
        if wait := self._connection.envelopes_sent.take():
            raise TooFast(retry_after_seconds=-(-wait // 1_000_000_000))

    def _waiting(self, frame: protocol.SentEnvelope, membership: Membership, standing: Standing) -> Waiting:
        header = parse_envelope(frame.envelope)
        if not (
            header.client_id == frame.client_id
            and header.conversation == frame.conversation
            and header.epoch == frame.epoch
        ):
            raise MalformedFrame
        if header.device not in standing.devices:
            raise UnknownDevice
        connection = self._connection
        submission = Submission(membership.side, header, frame.envelope, connection.user, standing.seq)
        return Waiting(submission, frame.ref, connection)

    async def _list_conversations(self, frame: protocol.ListConversations) -> None:
        items, more = await self._hub.read(
            conversations.page_of_summaries, self._connection.user, frame.before
        )
        self._connection.send(protocol.Conversations(ref=frame.ref, items=tuple(items), more=more))

    async def _get_history(self, frame: protocol.GetHistory) -> None:
        membership = await self._membership(frame.conversation.bytes)
        page = await self._hub.read(history.page, membership, frame.direction, frame.n, frame.limit)
        self._connection.send(
            protocol.History(
                ref=frame.ref,
                conversation=frame.conversation,
                rows=page.rows,
                before_hash=page.before_hash,
                last_n=page.last_n,
                more=page.more,
            )
        )

    async def _look_up_envelopes(self, frame: protocol.LookUpEnvelopes) -> None:
        membership = await self._membership(frame.conversation.bytes)
        items = await self._hub.read(history.found, membership, frame.client_ids)
        self._connection.send(
            protocol.EnvelopesFound(ref=frame.ref, conversation=frame.conversation, items=items)
        )

    async def _get_epochs(self, frame: protocol.GetEpochs) -> None:
        membership = await self._membership(frame.conversation.bytes)
        records, more = await self._hub.read(epochs.records_after, membership, frame.after)
        self._connection.send(
            protocol.Epochs(ref=frame.ref, conversation=frame.conversation, records=tuple(records), more=more)
        )

    async def _append_epoch(self, frame: protocol.AppendEpoch) -> None:
        membership = await self._membership(frame.conversation.bytes)
        conversation, epoch = frame.conversation, frame.epoch
        await self._hub.read(epochs.append, self._connection.user, membership, epoch, frame.record)
        self._connection.send(protocol.EpochAppended(ref=frame.ref, conversation=conversation, epoch=epoch))
        self._hub.tell(
            conversation,
            protocol.EpochNew(conversation=conversation, epoch=epoch, record=frame.record),
            but=self._connection,
            ring=events.EpochAppended(conversation, epoch),
        )

    async def _get_chain(self, frame: protocol.GetChain) -> None:
        membership = await self._membership(frame.conversation.bytes)
        entries, more = await self._hub.read(
            chains.entries_after, self._connection.user, membership, frame.whose, frame.after
        )
        self._connection.send(
            protocol.Chain(
                ref=frame.ref,
                conversation=frame.conversation,
                whose=frame.whose,
                entries=tuple(entries),
                more=more,
            )
        )

    async def _set_head(self, frame: protocol.SetHead) -> None:
        membership = await self._membership(frame.conversation.bytes)
        standing = await self._standing()
        is_news = await self._hub.read(heads.store, self._connection.user, membership, frame.head, standing)
        self._connection.send(protocol.HeadStored(ref=frame.ref, conversation=frame.conversation))
        if is_news:
            self._hub.tell(
                frame.conversation,
                protocol.HeadNew(conversation=frame.conversation, side=membership.side, head=frame.head),
                but=self._connection,
                ring=events.HeadStored(frame.conversation, membership.side),
            )

    async def _membership(self, conversation: bytes) -> Membership:
        """From what the connection knows; asks the database only about what it does not. Raises ``ConversationNotFound``."""
        known = self._connection.memberships.get(conversation)
        if known is None:
            id_ = UUID(bytes=conversation)
            known = await self._hub.read(conversations.membership_of, self._connection.user, id_)
            self._hub.adopt(self._connection.user_id, known)
        return known

    async def _standing(self) -> Standing:
        """Which of this person's devices stood a moment ago; what is stored is checked against how it is then."""
        standing = self._connection.standing
        if standing is None:
            standing = await self._hub.read(key_chain.standing, self._connection.user)
            self._connection.standing = standing
        return standing
