"""A browser as the server sees it: JSON with a CSRF token, checked as in production."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.test import Client

from accounts.json_api import door_data, vault_data
from accounts.models import User
from accounts.services import key_chain, vaults
from accounts.services.vaults import DoorKind, NewKeys, VaultBox
from accounts.wire import encode_base64url
from tests import factories
from tests.accounts.chains import Draft


@dataclass
class Browser:
    client: Client = field(default_factory=lambda: Client(enforce_csrf_checks=True))
    csrf_token: str = ""

    def request(self, method: str, path: str, body: object = None) -> Any:
        response = self.client.generic(
            method,
            path,
            "" if body is None else json.dumps(body),
            content_type="application/json",
            headers={"X-CSRFToken": self._token()},
        )
        if response.status_code < 300 and "csrf_token" in response.json():
            self.csrf_token = response.json()["csrf_token"]
        return response

    def post(self, path: str, body: object = None) -> Any:
        return self.request("POST", path, body)

    def get(self, path: str) -> Any:
        return self.request("GET", path)

    def put(self, path: str, body: object = None) -> Any:
        return self.request("PUT", path, body)

    def log_in(self, name: str, password: str = factories.PASSWORD, **more: Any) -> Any:
        body = {"username": name, "auth_key": factories.auth_key_for(name, password), "new_auth_key": None}
        return self.post("/api/log-in/", {**body, **more})

    @property
    def is_signed_in(self) -> bool:
        return bool(self.client.get("/settings/").status_code == 200)

    def _token(self) -> str:
        if not self.csrf_token:
            page = self.client.get("/sign-up/")
            self.csrf_token = str(page.context["csrf_token"])
        return self.csrf_token


def signed_in(name: str) -> Browser:
    browser = Browser()
    assert browser.log_in(name).status_code == 200
    return browser


def keys_body(keys: NewKeys) -> dict[str, Any]:
    return {
        "chain": [encode_base64url(entry) for entry in keys.chain],
        "doors": [door_data(door) for door in keys.doors],
        "recovery_hash": encode_base64url(keys.recovery_hash),
        "vault": vault_data(keys.vault),
    }


def sign_up_body(name: str, **changes: Any) -> dict[str, Any]:
    keys = keys_body(factories.Identity(name).keys())
    return {"username": name, "auth_key": factories.auth_key_for(name), "keys": keys, **changes}


def door(kind: DoorKind) -> dict[str, str]:
    return door_data(factories.make_door(kind))


def next_vault(user: User) -> dict[str, Any]:
    return vault_data(VaultBox(vaults.vault_of(user).version + 1, os.urandom(100)))


def next_entry(user: User, identity: factories.Identity) -> str:
    chain = key_chain.entries_of(user)
    return encode_base64url(identity.device_add(before=chain[-1], seq=len(chain) + 1))


def encoded(entries: Iterable[bytes]) -> list[str]:
    return [encode_base64url(entry) for entry in entries]


def chain_body(chain: Draft, vault: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"entries": encoded(chain.new), "vault": vault}


def renewal_body(user: User, chain: Draft, **changes: Any) -> dict[str, Any]:
    return {
        "auth_key": factories.auth_key_for(user.username),
        "new_auth_key": None,
        "entries": encoded(chain.new),
        "doors": [door("password"), door("recovery")],
        "vault": next_vault(user),
        **changes,
    }


def reset_body(user: User, chain: Draft, **changes: Any) -> dict[str, Any]:
    return {
        "auth_key": factories.auth_key_for(user.username),
        "entries": encoded(chain.new),
        "doors": [door("password"), door("recovery")],
        "recovery_hash": encode_base64url(os.urandom(32)),
        "vault": next_vault(user),
        **changes,
    }


def password_body(user: User, *, old: str = factories.PASSWORD, new: str) -> dict[str, Any]:
    return {
        "auth_key": factories.auth_key_for(user.username, old),
        "new_auth_key": factories.auth_key_for(user.username, new),
        "door": door("password"),
        "vault": next_vault(user),
    }


def recovery_body(user: User, identity: factories.Identity, **changes: Any) -> dict[str, Any]:
    return {
        "username": user.username,
        "recovery_proof": encode_base64url(identity.recovery_proof),
        "new_auth_key": factories.auth_key_for(user.username, "An0ther#One"),
        "doors": [door("password"), door("recovery")],
        "recovery_hash": encode_base64url(os.urandom(32)),
        "vault": next_vault(user),
        "entry": next_entry(user, identity),
        **changes,
    }
