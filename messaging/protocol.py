"""Every frame of the socket as a type; the only module here that knows JSON. docs/protocol.md section 7."""

from __future__ import annotations

import json
import re
from binascii import unhexlify
from collections.abc import Iterable
from typing import Annotated, Literal, NamedTuple, TypeAlias
from uuid import UUID

from django.conf import settings
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
)

from accounts.wire import decode_base64url, encode_base64url
from messaging.errors import MalformedFrame
from securechat.errors import DomainError

UUID_CHARACTERS = 36


def _bytes_from_base64url(text: object) -> bytes:
    """Bytes pass as they are: a frame of ours is made of them."""
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise ValueError("not a string")
    return decode_base64url(text)


def base64url_length(size: int) -> int:
    """Characters that ``size`` bytes take in a frame."""
    return (size * 4 + 2) // 3


def _uuid_from_text(text: object) -> UUID:
    if isinstance(text, UUID):
        return text
    if not isinstance(text, str) or len(text) != UUID_CHARACTERS:
        raise ValueError("not a UUID")
    parsed = UUID(text)
    if str(parsed) != text:
        raise ValueError("not canonical")
    return parsed


def _at_most(setting: str) -> AfterValidator:
    def check(raw: bytes) -> bytes:
        if not 1 <= len(raw) <= getattr(settings, setting):
            raise ValueError("size")
        return raw

    return AfterValidator(check)


def _page(ids: tuple[UUID, ...]) -> tuple[UUID, ...]:
    if not 1 <= len(ids) <= settings.HISTORY_PAGE_ROWS:
        raise ValueError("length")
    return ids


def _rows(limit: int) -> int:
    if not 1 <= limit <= settings.HISTORY_PAGE_ROWS:
        raise ValueError("range")
    return limit


Bytes: TypeAlias = Annotated[
    bytes, PlainValidator(_bytes_from_base64url), PlainSerializer(encode_base64url, when_used="json")
]
EnvelopeBytes: TypeAlias = Annotated[Bytes, _at_most("MAX_ENVELOPE_BYTES")]
RecordBytes: TypeAlias = Annotated[Bytes, _at_most("MAX_EPOCH_RECORD_BYTES")]
HeadBytes: TypeAlias = Annotated[Bytes, _at_most("MAX_HEAD_BYTES")]
Id: TypeAlias = Annotated[UUID, PlainValidator(_uuid_from_text), PlainSerializer(str, when_used="json")]
Ref: TypeAlias = Annotated[int, Field(gt=0, lt=2**53)]
Count: TypeAlias = Annotated[int, Field(ge=0, lt=2**53)]
Side: TypeAlias = Literal[0, 1]
Online: TypeAlias = bool | None
Whose: TypeAlias = Literal["own", "peer"]


class _Frame(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class ListConversations(_Frame):
    type: Literal["conversations.list"] = "conversations.list"
    ref: Ref
    before: Id | None


class GetEpochs(_Frame):
    type: Literal["epochs.get"] = "epochs.get"
    ref: Ref
    conversation: Id
    after: Count


class AppendEpoch(_Frame):
    type: Literal["epoch.append"] = "epoch.append"
    ref: Ref
    conversation: Id
    epoch: Ref
    record: RecordBytes


class GetChain(_Frame):
    type: Literal["chain.get"] = "chain.get"
    ref: Ref
    conversation: Id
    whose: Whose
    after: Count


class SendEnvelope(_Frame):
    type: Literal["envelope.send"] = "envelope.send"
    ref: Ref
    conversation: Id
    client_id: Id
    epoch: Ref
    envelope: EnvelopeBytes


class LookUpEnvelopes(_Frame):
    type: Literal["envelopes.lookup"] = "envelopes.lookup"
    ref: Ref
    conversation: Id
    client_ids: Annotated[tuple[Id, ...], AfterValidator(_page)]


class GetHistory(_Frame):
    type: Literal["history.get"] = "history.get"
    ref: Ref
    conversation: Id
    direction: Literal["before", "after"]
    n: Count
    limit: Annotated[int, AfterValidator(_rows)]


class SetHead(_Frame):
    type: Literal["head.set"] = "head.set"
    ref: Ref
    conversation: Id
    head: HeadBytes


class Ping(_Frame):
    type: Literal["ping"] = "ping"
    ref: Ref


ClientFrame: TypeAlias = (
    ListConversations
    | GetEpochs
    | AppendEpoch
    | GetChain
    | SendEnvelope
    | LookUpEnvelopes
    | GetHistory
    | SetHead
    | Ping
)


class Row(_Frame):
    n: Ref
    side: Side
    client_id: Id
    envelope: Bytes
    stored_at: Count


class Summary(_Frame):
    conversation: Id
    peer: str
    side: Side
    open: bool
    online: Online
    last_n: Count
    epoch: Count
    peer_has_keys: bool
    peer_deleted: bool
    last: Row | None
    heads: tuple[Bytes | None, Bytes | None]
    active_at: Count


class PresenceItem(_Frame):
    conversation: Id
    online: Online


class FoundItem(_Frame):
    client_id: Id
    n: Ref
    stored_at: Count


class Welcome(_Frame):
    type: Literal["welcome"] = "welcome"
    name: str
    server_time: Count
    requests: Count
    presence: tuple[PresenceItem, ...]


class Conversations(_Frame):
    type: Literal["conversations"] = "conversations"
    ref: Ref
    items: tuple[Summary, ...]
    more: bool


class Epochs(_Frame):
    type: Literal["epochs"] = "epochs"
    ref: Ref
    conversation: Id
    records: tuple[Bytes, ...]
    more: bool


class EpochAppended(_Frame):
    type: Literal["epoch.appended"] = "epoch.appended"
    ref: Ref
    conversation: Id
    epoch: Ref


class EpochNew(_Frame):
    type: Literal["epoch.new"] = "epoch.new"
    conversation: Id
    epoch: Ref
    record: Bytes


class Chain(_Frame):
    type: Literal["chain"] = "chain"
    ref: Ref
    conversation: Id
    whose: Whose
    entries: tuple[Bytes, ...]
    more: bool


class EnvelopeStored(_Frame):
    type: Literal["envelope.stored"] = "envelope.stored"
    ref: Ref
    conversation: Id
    client_id: Id
    n: Ref
    stored_at: Count


class EnvelopeNew(_Frame):
    type: Literal["envelope.new"] = "envelope.new"
    conversation: Id
    row: Row


class EnvelopesFound(_Frame):
    type: Literal["envelopes.found"] = "envelopes.found"
    ref: Ref
    conversation: Id
    items: tuple[FoundItem, ...]


class History(_Frame):
    type: Literal["history"] = "history"
    ref: Ref
    conversation: Id
    rows: tuple[Row, ...]
    before_hash: Bytes
    last_n: Count
    more: bool


class HeadStored(_Frame):
    type: Literal["head.stored"] = "head.stored"
    ref: Ref
    conversation: Id


class HeadNew(_Frame):
    type: Literal["head.new"] = "head.new"
    conversation: Id
    side: Side
    head: Bytes


class Presence(_Frame):
    type: Literal["presence"] = "presence"
    conversation: Id
    online: Online


class ConversationChanged(_Frame):
    type: Literal["conversation.changed"] = "conversation.changed"
    summary: Summary


class Requests(_Frame):
    type: Literal["requests"] = "requests"
    count: Count


class KeysChanged(_Frame):
    type: Literal["keys.changed"] = "keys.changed"
    conversation: Id | None


class Refused(_Frame):
    type: Literal["refused"] = "refused"
    ref: Ref | None
    code: str
    message: str
    retry_after: Count | None


class Pong(_Frame):
    type: Literal["pong"] = "pong"
    ref: Ref


ServerFrame: TypeAlias = (
    Welcome
    | Conversations
    | Epochs
    | EpochAppended
    | EpochNew
    | Chain
    | EnvelopeStored
    | EnvelopeNew
    | EnvelopesFound
    | History
    | HeadStored
    | HeadNew
    | Presence
    | ConversationChanged
    | Requests
    | KeysChanged
    | Refused
    | Pong
)

_client_frame: TypeAdapter[ClientFrame] = TypeAdapter(Annotated[ClientFrame, Field(discriminator="type")])
_server_frame: TypeAdapter[ServerFrame] = TypeAdapter(Annotated[ServerFrame, Field(discriminator="type")])


# Every message comes in this form and leaves in the two below: written out, they take a fifth of pydantic's time. It
# decides about all that looks different, so nothing is accepted or sent that it would not.
_UUID = b"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_COUNT = b"([1-9][0-9]{0,14})"
_BEGIN_OF_SEND = re.compile(
    b'{"type":"envelope.send","ref":%b,"conversation":"%b","client_id":"%b","epoch":%b,"envelope":"'
    % (_COUNT, _UUID, _UUID, _COUNT)
)


class SentEnvelope(NamedTuple):
    """``SendEnvelope`` with its ids as 16 bytes."""

    ref: int
    conversation: bytes
    client_id: bytes
    epoch: int
    envelope: bytes


def sent_envelope(text: bytes) -> SentEnvelope | None:
    """``None`` for whatever else it is, which may still be a ``SendEnvelope`` in another form. ``text`` as it came: UTF-8 or not."""
    begin = _BEGIN_OF_SEND.match(text)
    if begin is None or not text.endswith(b'"}'):
        return None
    try:
        envelope = decode_base64url(text[begin.end() : -2])
    except ValueError:
        return None
    if not 1 <= len(envelope) <= settings.MAX_ENVELOPE_BYTES:
        return None
    ref, conversation, client_id, epoch = begin.groups()
    return SentEnvelope(int(ref), _id_bytes(conversation), _id_bytes(client_id), int(epoch), envelope)


def _id_bytes(text: bytes) -> bytes:
    return unhexlify(text.replace(b"-", b""))


def id_text(id_: bytes) -> str:
    """As a frame has it."""
    digits = id_.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def decode_client_frame(text: str | None) -> ClientFrame:
    """``None`` stands for a binary frame. Raises ``MalformedFrame``, which says nothing of what was sent."""
    if text is None:
        raise MalformedFrame
    try:
        return _client_frame.validate_json(text)
    except ValueError:
        raise MalformedFrame from None


def decode_server_frame(text: str) -> ServerFrame:
    """For the Python client in the tests. Raises ``MalformedFrame``."""
    try:
        return _server_frame.validate_json(text)
    except ValueError:
        raise MalformedFrame from None


def encode(frame: ServerFrame | ClientFrame) -> str:
    return frame.model_dump_json()


def welcome_text(
    *, name: str, server_time: int, requests: int, presence: Iterable[tuple[UUID, bool | None]]
) -> str:
    """``Welcome``, encoded: an object for each friend would cost more than reading them all from the database."""
    items = ",".join(
        f'{{"conversation":"{conversation}","online":{_ONLINE[online]}}}' for conversation, online in presence
    )
    return (
        f'{{"type":"welcome","name":{json.dumps(name, ensure_ascii=False)},"server_time":{server_time},'
        f'"requests":{requests},"presence":[{items}]}}'
    )


_ONLINE = {True: "true", False: "false", None: "null"}


def stored_text(*, ref: int, conversation: str, client_id: str, n: int, stored_at: int) -> str:
    """``EnvelopeStored``, encoded."""
    return (
        f'{{"type":"envelope.stored","ref":{ref},"conversation":"{conversation}","client_id":"{client_id}",'
        f'"n":{n},"stored_at":{stored_at}}}'
    )


def new_text(*, conversation: str, n: int, side: int, client_id: str, envelope: bytes, stored_at: int) -> str:
    """``EnvelopeNew``, encoded."""
    return (
        f'{{"type":"envelope.new","conversation":"{conversation}","row":{{"n":{n},"side":{side},'
        f'"client_id":"{client_id}","envelope":"{encode_base64url(envelope)}","stored_at":{stored_at}}}}}'
    )


def ref_of(text: str | None) -> int | None:
    """The ``ref`` of a frame that is otherwise malformed, where it has one, so that the answer finds its way."""
    try:
        return _ref.validate_json(text or "").ref
    except ValueError:
        return None


class _WithRef(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    ref: Ref


_ref: TypeAdapter[_WithRef] = TypeAdapter(_WithRef)


def encoded_bytes(item: Row | Summary) -> int:
    """How much of a frame it takes, with the comma after it."""
    return len(item.model_dump_json().encode()) + 1


def refusal(error: DomainError, ref: int | None) -> Refused:
    return Refused(ref=ref, code=error.code, message=str(error), retry_after=error.retry_after_seconds)
