"""One socket, as the rest of its process sees it: who it is, what it may read, and what waits to be sent to it."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from enum import IntEnum
from typing import Any, TypeAlias

from django.conf import settings

from accounts.models import Sanction, User
from accounts.services.key_chain import Standing
from messaging import presence, protocol
from messaging.services.conversations import Membership
from messaging.sessions import SignIn
from securechat.logs import connection_id, refused
from securechat.ratelimit import Bucket

Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
SendAtOnce: TypeAlias = Callable[[str], bool]


class CloseCode(IntEnum):
    TOO_LARGE = 1009
    RESTART = 1012
    VANISHED = 4006  # Never sent: what the launcher says of a peer that did not answer a ping.
    SIGNED_OUT = 4401
    TOO_SLOW = 4408
    TOO_MANY = 4429


_REFUSALS = (CloseCode.TOO_LARGE, CloseCode.TOO_SLOW, CloseCode.TOO_MANY)


class Connection:
    """What it caches (memberships, which devices stand, whether its person is muted) the hub keeps right when an event says that it changed."""

    def __init__(
        self, user: User, session_key: str, send: Send, send_at_once: SendAtOnce | None = None
    ) -> None:
        self.user = user
        self.sign_in = SignIn(user.pk, session_key)
        self.presence_key = presence.connection_key(user.pk, secrets.token_hex(8))
        self.log_id = connection_id.get()
        self.memberships: dict[bytes, Membership] = {}
        self._conversation_with: dict[int, bytes] = {}
        self.standing: Standing | None = None
        self.mute: Sanction | None = None
        self.envelopes_sent = Bucket(limit=settings.ENVELOPE_BURST, per_second=settings.ENVELOPES_PER_SECOND)
        self.is_ready = False
        self.missed_an_event = False
        self.is_closing = False
        self._send = send
        self._send_at_once = send_at_once
        self._is_sending = False
        self._waiting: deque[str] = deque()
        self._waiting_characters = 0
        self._close_code: CloseCode | None = None
        self._wake = asyncio.Event()
        self._most_frames, self._most_characters = settings.SOCKET_QUEUE_FRAMES, settings.SOCKET_QUEUE_BYTES

    @property
    def user_id(self) -> int:
        return self.sign_in.user_id

    def open_with(self, peer_id: int) -> Iterable[Membership]:
        conversation = self._conversation_with.get(peer_id)
        if conversation is not None and self.memberships[conversation].open:
            yield self.memberships[conversation]

    def learn(self, membership: Membership) -> None:
        self.memberships[membership.conversation.bytes] = membership
        if membership.peer_id is not None:
            self._conversation_with[membership.peer_id] = membership.conversation.bytes

    def send(self, frame: protocol.ServerFrame) -> None:
        self.send_text(protocol.encode(frame))

    def send_text(self, text: str) -> None:
        """Never waits: who does not read what is sent is cut off and catches up from the history."""
        if self.is_closing:
            return
        at_once = self._send_at_once
        if at_once is not None and not (self._is_sending or self._waiting) and at_once(text):
            return
        self._waiting.append(text)
        self._waiting_characters += len(text)
        if len(self._waiting) > self._most_frames or self._waiting_characters > self._most_characters:
            self._waiting.clear()
            self._waiting_characters = 0
            self.close(CloseCode.TOO_SLOW)
        self._wake.set()

    def close(self, code: CloseCode) -> None:
        """After what waits is sent; the first code counts. Nothing that the browser sends is handled any more."""
        if not self.is_closing:
            self.is_closing = True
            self._close_code = code
            if code in _REFUSALS:
                refused("socket", code.name.lower(), connection=self.log_id)
            self._wake.set()

    async def run(self) -> None:
        """Sends what waits until the socket is closed."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._is_sending = True
            while self._waiting:
                text = self._waiting.popleft()
                self._waiting_characters -= len(text)
                await self._send({"type": "websocket.send", "text": text})
            self._is_sending = False
            if self._close_code is not None:
                await self._send({"type": "websocket.close", "code": int(self._close_code)})
                return
