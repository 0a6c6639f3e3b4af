"""The account's JSON requests, one view each. docs/protocol.md section 8."""

from __future__ import annotations

from django.contrib.auth import login, update_session_auth_hash
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from accounts import throttling
from accounts.destinations import may_go_to
from accounts.errors import KeysMissing, MalformedRequest
from accounts.json_api import (
    AuthKey,
    Body,
    DoorBody,
    Entry,
    Hash,
    KeysBody,
    Username,
    VaultBody,
    door_data,
    keys_data,
    refusing,
    signed_in,
    takes,
    vault_data,
)
from accounts.services import key_chain, passwords, recovery, vaults
from accounts.wire import encode_base64url


class LogInParametersBody(Body):
    username: Username


class SignUpBody(Body):
    username: Username
    auth_key: AuthKey
    keys: KeysBody


class LogInBody(Body):
    username: Username
    auth_key: AuthKey
    new_auth_key: AuthKey | None


class NewKeysBody(Body):
    keys: KeysBody


class EntryBody(Body):
    entry: Entry


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
    user = passwords.sign_up(username=body.username, auth_key=body.auth_key, keys=body.keys.content())
    login(request, user)
    return JsonResponse({"csrf_token": get_token(request)}, status=201)


@takes(LogInBody)
@sensitive_variables()
def log_in(request: HttpRequest, body: LogInBody) -> HttpResponse:
    throttling.throttle_log_in(request, body.username)
    user = passwords.prove(username=body.username, auth_key=body.auth_key)
    if user.is_legacy != (body.new_auth_key is not None):
        raise MalformedRequest
    if body.new_auth_key is not None:
        passwords.upgrade_legacy(user=user, new_auth_key=body.new_auth_key)
    login(request, user)
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
def keys(request: HttpRequest) -> HttpResponse:
    return _make_keys(request) if request.method == "POST" else _show_keys(request)


@refusing
def _show_keys(request: HttpRequest) -> HttpResponse:
    stored = vaults.keys_of(signed_in(request))
    if stored is None:
        raise KeysMissing
    return JsonResponse(keys_data(stored))


@takes(NewKeysBody)
def _make_keys(request: HttpRequest, body: NewKeysBody) -> HttpResponse:
    vaults.make_keys(user=signed_in(request), keys=body.keys.content())
    return JsonResponse({}, status=201)


@takes(EntryBody)
def append_to_key_chain(request: HttpRequest, body: EntryBody) -> HttpResponse:
    seq = key_chain.append_entry(user=signed_in(request), entry=body.entry)
    return JsonResponse({"seq": seq}, status=201)


@require_http_methods(["GET", "PUT"])
def vault(request: HttpRequest) -> HttpResponse:
    return _replace_vault(request) if request.method == "PUT" else _show_vault(request)


@refusing
def _show_vault(request: HttpRequest) -> HttpResponse:
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
    with transaction.atomic():  # The others hear of it when this session is stored under its new key.
        passwords.change_password(
            user=user,
            auth_key=body.auth_key,
            new_auth_key=body.new_auth_key,
            door=body.door.content(),
            vault=body.vault.content(),
        )
        update_session_auth_hash(request, user)
        request.session.save()
    return JsonResponse({"csrf_token": get_token(request)})


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
    user = recovery.finish_recovery(
        username=body.username,
        proof=body.recovery_proof,
        new_auth_key=body.new_auth_key,
        doors=[door.content() for door in body.doors],
        recovery_hash=body.recovery_hash,
        vault=body.vault.content(),
        entry=body.entry,
    )
    login(request, user)
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
def confirm_recovery_code(request: HttpRequest) -> HttpResponse:
    vaults.confirm_recovery_code(signed_in(request))
    return JsonResponse({})
