"""The account's JSON requests, one view each. docs/protocol.md section 8."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from itertools import islice
from typing import Annotated

from asgiref.sync import sync_to_async
from django.contrib.auth import logout
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST
from pydantic import Field

from accounts import throttling
from accounts.destinations import may_go_to
from accounts.errors import KeysMissing, MalformedRequest, WrongCredentials
from accounts.json_api import (
    AuthKey,
    Body,
    DeviceId,
    DoorBody,
    Entry,
    Hash,
    KeysBody,
    SessionId,
    Username,
    VaultBody,
    door_data,
    keys_data,
    refusing,
    session_data,
    signed_in,
    takes,
    vault_data,
)
from accounts.services import (
    abuse_signals,
    deletion,
    export,
    operators,
    passwords,
    recovery,
    renewal,
    sessions,
    vaults,
)
from accounts.sign_in import session_key_of, sign_in, staying_signed_in
from accounts.wire import encode_base64url
from securechat import metrics

_ROWS_OF_A_PIECE = 200


class LogInParametersBody(Body):
    username: Username


class SignUpBody(Body):
    username: Username
    auth_key: AuthKey
    keys: KeysBody
    invite: Annotated[str, Field(max_length=100)] | None = None


class LogInBody(Body):
    username: Username
    auth_key: AuthKey
    new_auth_key: AuthKey | None


class ProofBody(Body):
    auth_key: AuthKey


class NewKeysBody(Body):
    keys: KeysBody


class ChainBody(Body):
    entries: Annotated[tuple[Entry, ...], Field(min_length=1, max_length=2)]
    vault: VaultBody | None


class RenewalBody(Body):
    auth_key: AuthKey
    new_auth_key: AuthKey | None
    entries: Annotated[tuple[Entry, ...], Field(min_length=1)]
    doors: tuple[DoorBody, ...]
    vault: VaultBody


class ResetBody(Body):
    auth_key: AuthKey
    entries: tuple[Entry, ...]
    doors: tuple[DoorBody, ...]
    recovery_hash: Hash
    vault: VaultBody


class BindBody(Body):
    device: DeviceId


class EndBody(Body):
    session: SessionId


class PasswordBody(Body):
    auth_key: AuthKey
    new_auth_key: AuthKey
    door: DoorBody
    vault: VaultBody


class RecoveryBeginBody(Body):
    username: Username
    recovery_proof: Hash


class RecoveryFinishBody(Body):
    username: Username
    recovery_proof: Hash
    new_auth_key: AuthKey
    doors: tuple[DoorBody, ...]
    recovery_hash: Hash
    vault: VaultBody
    entry: Entry


class RecoveryCodeBody(Body):
    auth_key: AuthKey
    door: DoorBody
    recovery_hash: Hash
    vault: VaultBody


@takes(LogInParametersBody)
def log_in_parameters(request: HttpRequest, body: LogInParametersBody) -> HttpResponse:
    throttling.throttle_question(request)
    parameters = passwords.log_in_parameters(body.username)
    return JsonResponse(
        {"client_salt": encode_base64url(parameters.client_salt), "legacy_salt": parameters.legacy_salt}
    )


@takes(SignUpBody)
@sensitive_variables()
def sign_up(request: HttpRequest, body: SignUpBody) -> HttpResponse:
    passwords.require_usable_name(body.username)
    throttling.throttle_sign_up(request)
    user, growth = passwords.sign_up(
        username=body.username, auth_key=body.auth_key, keys=body.keys.content(), invite=body.invite
    )
    metrics.SIGN_UPS.inc()
    sign_in(request, user, device=growth.added_device)
    return JsonResponse({"csrf_token": get_token(request)}, status=201)


@takes(LogInBody)
@sensitive_variables()
def log_in(request: HttpRequest, body: LogInBody) -> HttpResponse:
    throttling.throttle_log_in(request, body.username)
    try:
        user = passwords.prove(username=body.username, auth_key=body.auth_key)
    except WrongCredentials:
        metrics.LOG_INS.inc(right="no")
        abuse_signals.note_wrong_password(body.username)
        operators.note_refused_log_in(body.username, source=str(request.META.get("REMOTE_ADDR", "")))
        raise
    if user.is_legacy != (body.new_auth_key is not None):
        raise MalformedRequest
    if body.new_auth_key is not None:
        passwords.upgrade_legacy(user=user, new_auth_key=body.new_auth_key)
    sign_in(request, user)
    metrics.LOG_INS.inc(right="yes")
    stored = vaults.keys_of(user)
    return JsonResponse(
        {
            "csrf_token": get_token(request),
            "username": user.username,
            "keys": None if stored is None else keys_data(stored),
            "next_allowed": may_go_to(request, user),
        }
    )


@require_http_methods(["GET", "POST"])
def keys(request: HttpRequest) -> HttpResponseBase:
    return _make_keys(request) if request.method == "POST" else _show_keys(request)


@refusing
def _show_keys(request: HttpRequest) -> HttpResponseBase:
    stored = vaults.keys_of(signed_in(request))
    if stored is None:
        raise KeysMissing
    return JsonResponse(keys_data(stored))


@takes(NewKeysBody)
def _make_keys(request: HttpRequest, body: NewKeysBody) -> HttpResponse:
    user = signed_in(request)
    growth = vaults.make_keys(user=user, keys=body.keys.content())
    sessions.bind_new(user=user, session_key=session_key_of(request), device=growth.added_device)
    return JsonResponse({}, status=201)


@takes(ChainBody)
def append_to_key_chain(request: HttpRequest, body: ChainBody) -> HttpResponse:
    growth = renewal.grow_chain(
        user=signed_in(request),
        session_key=session_key_of(request),
        entries=body.entries,
        vault=None if body.vault is None else body.vault.content(),
    )
    return JsonResponse({"seq": growth.seq}, status=201)


@takes(RenewalBody)
@sensitive_variables()
def renew_keys(request: HttpRequest, body: RenewalBody) -> HttpResponse:
    user = signed_in(request)
    throttling.throttle_proof(user)
    stays = staying_signed_in(request, user) if body.new_auth_key is not None else nullcontext()
    with transaction.atomic(), stays:
        renewal.renew_keys(
            user=user,
            session_key=session_key_of(request),
            auth_key=body.auth_key,
            new_auth_key=body.new_auth_key,
            entries=body.entries,
            doors=[door.content() for door in body.doors],
            vault=body.vault.content(),
        )
    return JsonResponse({"csrf_token": get_token(request)})


@takes(ResetBody)
@sensitive_variables()
def start_fresh(request: HttpRequest, body: ResetBody) -> HttpResponse:
    user = signed_in(request)
    throttling.throttle_proof(user)
    with transaction.atomic():
        with staying_signed_in(request, user):
            growth = renewal.start_fresh(
                user=user,
                auth_key=body.auth_key,
                entries=body.entries,
                doors=[door.content() for door in body.doors],
                recovery_hash=body.recovery_hash,
                vault=body.vault.content(),
            )
        sessions.bind_new(user=user, session_key=session_key_of(request), device=growth.added_device)
    return JsonResponse({"csrf_token": get_token(request)})


@require_http_methods(["GET", "POST"])
def browsers(request: HttpRequest) -> HttpResponseBase:
    return _bind_browser(request) if request.method == "POST" else _show_browsers(request)


@refusing
def _show_browsers(request: HttpRequest) -> HttpResponseBase:
    shown = sessions.sessions_of(signed_in(request), here=session_key_of(request))
    return JsonResponse({"browsers": [session_data(session) for session in shown]})


@takes(BindBody)
def _bind_browser(request: HttpRequest, body: BindBody) -> HttpResponse:
    sessions.bind(user=signed_in(request), session_key=session_key_of(request), device=body.device)
    return JsonResponse({})


@takes(EndBody)
def end_browser(request: HttpRequest, body: EndBody) -> HttpResponse:
    sessions.end(user=signed_in(request), session=body.session)
    return JsonResponse({})


@require_http_methods(["GET", "PUT"])
def vault(request: HttpRequest) -> HttpResponseBase:
    return _replace_vault(request) if request.method == "PUT" else _show_vault(request)


@refusing
def _show_vault(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse(vault_data(vaults.vault_of(signed_in(request))))


@takes(VaultBody, method="PUT")
def _replace_vault(request: HttpRequest, body: VaultBody) -> HttpResponse:
    user = signed_in(request)
    vaults.replace_vault(user=user, vault=body.content())
    return JsonResponse(vault_data(body.content()))


@takes(PasswordBody)
@sensitive_variables()
def change_password(request: HttpRequest, body: PasswordBody) -> HttpResponse:
    user = signed_in(request)
    throttling.throttle_proof(user)
    # The others hear of it when this session is stored under its new key.
    with transaction.atomic(), staying_signed_in(request, user):
        passwords.change_password(
            user=user,
            auth_key=body.auth_key,
            new_auth_key=body.new_auth_key,
            door=body.door.content(),
            vault=body.vault.content(),
        )
    return JsonResponse({"csrf_token": get_token(request)})


@takes(ProofBody)
@sensitive_variables()
def export_own_data(request: HttpRequest, body: ProofBody) -> HttpResponseBase:
    user = signed_in(request)
    throttling.throttle_proof(user)
    passwords.prove_again(user=user, auth_key=body.auth_key)
    return StreamingHttpResponse(_in_pieces(export.export(user)), content_type="application/json")


async def _in_pieces(rows: Iterator[str]) -> AsyncIterator[str]:
    """Read in the thread that has the database, a few rows at a time."""
    while piece := await sync_to_async(lambda: "".join(islice(rows, _ROWS_OF_A_PIECE)))():
        yield piece


@takes(ProofBody)
@sensitive_variables()
def delete_own_account(request: HttpRequest, body: ProofBody) -> HttpResponse:
    user = signed_in(request)
    throttling.throttle_proof(user)
    passwords.prove_again(user=user, auth_key=body.auth_key)
    deletion.delete_account(user=user, by=user, source="settings", why="The person asked for it.")
    logout(request)
    return JsonResponse({})


@takes(RecoveryBeginBody)
@sensitive_variables()
def begin_recovery(request: HttpRequest, body: RecoveryBeginBody) -> HttpResponse:
    throttling.throttle_recovery(request, body.username)
    begun = recovery.begin_recovery(username=body.username, proof=body.recovery_proof)
    return JsonResponse(
        {
            "client_salt": encode_base64url(begun.client_salt),
            "chain": [encode_base64url(entry) for entry in begun.chain],
            "door": door_data(begun.door),
            "vault": vault_data(begun.vault),
        }
    )


@takes(RecoveryFinishBody)
@sensitive_variables()
def finish_recovery(request: HttpRequest, body: RecoveryFinishBody) -> HttpResponse:
    throttling.throttle_recovery(request, body.username)
    user, growth = recovery.finish_recovery(
        username=body.username,
        proof=body.recovery_proof,
        new_auth_key=body.new_auth_key,
        doors=[door.content() for door in body.doors],
        recovery_hash=body.recovery_hash,
        vault=body.vault.content(),
        entry=body.entry,
    )
    sign_in(request, user, device=growth.added_device)
    return JsonResponse({"csrf_token": get_token(request), "username": user.username})


@takes(RecoveryCodeBody)
@sensitive_variables()
def replace_recovery_code(request: HttpRequest, body: RecoveryCodeBody) -> HttpResponse:
    user = signed_in(request)
    throttling.throttle_proof(user)
    recovery.replace_recovery_code(
        user=user,
        auth_key=body.auth_key,
        door=body.door.content(),
        recovery_hash=body.recovery_hash,
        vault=body.vault.content(),
    )
    return JsonResponse({})


@require_POST
@refusing
def confirm_recovery_code(request: HttpRequest) -> HttpResponseBase:
    vaults.confirm_recovery_code(signed_in(request))
    return JsonResponse({})
