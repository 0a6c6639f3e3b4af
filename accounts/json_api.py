"""JSON requests: what is common to all, so that a view is a service call and an answer. docs/protocol.md section 8."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Annotated, Any, TypeAlias, TypeVar
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from accounts.errors import FieldsRefused, MalformedRequest, SignedOut
from accounts.models import User
from accounts.services import abuse_signals
from accounts.services.sessions import ShownSession
from accounts.services.vaults import DoorContent, DoorKind, NewKeys, StoredKeys, VaultBox
from accounts.wire import (
    ACCOUNT_KEY_BYTES,
    DEVICE_ID_BYTES,
    HASH_BYTES,
    LARGEST_INTEGER,
    decode_base64url,
    encode_base64url,
    is_auth_key,
)
from securechat.errors import DomainError, TooFast
from securechat.logs import note_refusal

_LONGEST_SEALED_BYTES = 4_096
_LONGEST_USERNAME = (
    200  # Longer than any real one: whoever typed too much is told by the rules, not as a bug.
)


def _decode(text: object, low: int, high: int) -> bytes:
    if not isinstance(text, str):
        raise ValueError("not a string")
    raw = decode_base64url(text)
    if not low <= len(raw) <= high:
        raise ValueError("size")
    return raw


def _between(low: int, high: int) -> PlainValidator:
    return PlainValidator(lambda text: _decode(text, low, high))


def bytes_at_most(setting: str) -> PlainValidator:
    """For a field of one byte to so many as that setting says."""
    return PlainValidator(lambda text: _decode(text, 1, getattr(settings, setting)))


def _auth_key(text: object) -> str:
    if not isinstance(text, str) or not is_auth_key(text):
        raise ValueError("form")
    return text


def _uuid(text: object) -> UUID:
    """In its canonical text form."""
    if not isinstance(text, str) or str(UUID(text)) != text:
        raise ValueError("form")
    return UUID(text)


AuthKey: TypeAlias = Annotated[str, PlainValidator(_auth_key)]
Hash: TypeAlias = Annotated[bytes, _between(HASH_BYTES, HASH_BYTES)]
DeviceId: TypeAlias = Annotated[bytes, _between(DEVICE_ID_BYTES, DEVICE_ID_BYTES)]
PublicId: TypeAlias = Annotated[UUID, PlainValidator(_uuid)]
SessionId: TypeAlias = PublicId
Sealed: TypeAlias = Annotated[bytes, _between(1, _LONGEST_SEALED_BYTES)]
Entry: TypeAlias = Annotated[bytes, bytes_at_most("MAX_CHAIN_ENTRY_BYTES")]
Username: TypeAlias = Annotated[str, Field(max_length=_LONGEST_USERNAME)]


class Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class DoorBody(Body):
    kind: DoorKind
    public: Annotated[bytes, _between(ACCOUNT_KEY_BYTES, ACCOUNT_KEY_BYTES)]
    sealed_vault_key: Sealed
    sealed_identity: Sealed

    def content(self) -> DoorContent:
        return DoorContent(self.kind, self.public, self.sealed_vault_key, self.sealed_identity)


class VaultBody(Body):
    version: Annotated[int, Field(ge=1, lt=LARGEST_INTEGER)]
    box: Annotated[bytes, bytes_at_most("MAX_VAULT_BYTES")]

    def content(self) -> VaultBox:
        return VaultBox(self.version, self.box)


class KeysBody(Body):
    chain: Annotated[tuple[Entry, ...], Field(max_length=2)]
    doors: Annotated[tuple[DoorBody, ...], Field(max_length=2)]
    recovery_hash: Hash
    vault: VaultBody

    def content(self) -> NewKeys:
        doors = tuple(door.content() for door in self.doors)
        return NewKeys(self.chain, doors, self.recovery_hash, self.vault.content())


AnyBody = TypeVar("AnyBody", bound=Body)
View: TypeAlias = Callable[[HttpRequest], HttpResponseBase]


def takes(
    body_type: type[AnyBody], method: str = "POST"
) -> Callable[[Callable[[HttpRequest, AnyBody], HttpResponseBase]], View]:
    """The view gets the checked body. What it raises as ``DomainError`` becomes the refusal that a browser reads."""

    def decorate(view: Callable[[HttpRequest, AnyBody], HttpResponseBase]) -> View:
        @wraps(view)
        @sensitive_variables()
        def answer(request: HttpRequest) -> HttpResponseBase:
            return view(request, _parse(request, body_type))

        return require_http_methods([method])(refusing(answer))

    return decorate


def refusing(view: View) -> View:
    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponseBase:
        try:
            return view(request)
        except DomainError as error:
            if isinstance(error, TooFast) and isinstance(request.user, User):
                abuse_signals.note_too_fast(request.user.pk)
            return refusal(error)

    return answer


def refusal(error: DomainError) -> JsonResponse:
    response = JsonResponse(
        {
            "code": error.code,
            "message": str(error),
            "fields": error.fields if isinstance(error, FieldsRefused) else {},
            "retry_after": error.retry_after_seconds,
        },
        status=error.status,
    )
    note_refusal(response, error.code)
    if error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def signed_in(request: HttpRequest) -> User:
    """Raises ``SignedOut``."""
    if not isinstance(request.user, User):
        raise SignedOut
    return request.user


def keys_data(keys: StoredKeys) -> dict[str, Any]:
    return {
        "username": keys.username,
        "chain": [encode_base64url(entry) for entry in keys.chain],
        "doors": [door_data(door) for door in keys.doors],
        "vault": vault_data(keys.vault),
        "recovery_confirmed": keys.recovery_confirmed,
    }


def door_data(door: DoorContent) -> dict[str, str]:
    return {
        "kind": door.kind,
        "public": encode_base64url(door.public),
        "sealed_vault_key": encode_base64url(door.sealed_vault_key),
        "sealed_identity": encode_base64url(door.sealed_identity),
    }


def session_data(session: ShownSession) -> dict[str, Any]:
    return {
        "session": str(session.id),
        "device": None if session.device is None else encode_base64url(session.device),
        "name": session.name,
        "address": session.address,
        "signed_in_at": milliseconds(session.signed_in_at),
        "seen_at": milliseconds(session.seen_at),
        "is_this": session.is_this,
    }


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def vault_data(vault: VaultBox) -> dict[str, Any]:
    return {"version": vault.version, "box": encode_base64url(vault.box)}


def _parse(request: HttpRequest, body_type: type[AnyBody]) -> AnyBody:
    if request.content_type != "application/json":
        raise MalformedRequest
    try:
        return body_type.model_validate_json(request.body)
    except ValidationError:
        raise MalformedRequest from None
