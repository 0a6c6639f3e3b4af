"""The cast and their things, made by the real services. Other apps' makers come below."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.contrib.auth.hashers import get_hasher
from django.http import HttpRequest
from django.test import Client
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts import wire
from accounts.hashers import SecureChatPasswordHasher
from accounts.models import User
from accounts.models.browser_session import Details
from accounts.names import fold
from accounts.services import passwords, second_factor, sessions
from accounts.services.vaults import DoorContent, DoorKind, NewKeys, VaultBox
from accounts.stretching import client_salt_for
from friends import services as friends_services
from friends.models import Friendship

PASSWORD = "Tr0ub4dor&3"


def auth_key_for(name: str, password: str = PASSWORD) -> str:
    """What the browser of somebody who has not signed up yet would send."""
    hasher = get_hasher()
    assert isinstance(hasher, SecureChatPasswordHasher)
    return hasher.derive(name=name, password=password, client_salt=client_salt_for(name))


def raw_public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def device_id_of(key: Ed25519PrivateKey) -> bytes:
    return wire.DeviceAdd(raw_public(key)).device_id


@dataclass
class Identity:
    """The signing half of a browser, as far as the server can tell. What is encrypted is random bytes here."""

    name: str
    origin: str = field(default_factory=lambda: settings.PUBLIC_ORIGIN)
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    recovery_proof: bytes = field(default_factory=lambda: os.urandom(32))

    def genesis(self) -> bytes:
        account_public = os.urandom(wire.ACCOUNT_KEY_BYTES)
        payload = [self.origin, fold(self.name), raw_public(self.key), 1, account_public]
        return self.entry(seq=1, prev=wire.NO_HASH, kind="genesis", payload=payload)

    def device_add(self, *, before: bytes, seq: int, device: bytes | None = None) -> bytes:
        payload = [device or raw_public(Ed25519PrivateKey.generate())]
        return self.entry(seq=seq, prev=wire.entry_hash(before), kind="device_add", payload=payload)

    def device_revoke(self, *, before: bytes, seq: int, device_id: bytes) -> bytes:
        prev = wire.entry_hash(before)
        return self.entry(seq=seq, prev=prev, kind="device_revoke", payload=[device_id])

    def device_retire(self, *, before: bytes, seq: int, device: Ed25519PrivateKey) -> bytes:
        prev, payload = wire.entry_hash(before), [device_id_of(device)]
        return self.entry(seq=seq, prev=prev, kind="device_retire", payload=payload, key=device)

    def ak_rotate(self, *, before: bytes, seq: int, generation: int, vault_generation: int) -> bytes:
        payload = [generation, os.urandom(wire.ACCOUNT_KEY_BYTES), vault_generation]
        return self.entry(seq=seq, prev=wire.entry_hash(before), kind="ak_rotate", payload=payload)

    def reset(self, *, before: bytes, seq: int, generation: int) -> bytes:
        """With this identity as the new one."""
        account_public = os.urandom(wire.ACCOUNT_KEY_BYTES)
        payload = [self.origin, fold(self.name), raw_public(self.key), generation, account_public]
        return self.entry(seq=seq, prev=wire.entry_hash(before), kind="reset", payload=payload)

    def entry(
        self,
        *,
        seq: int,
        prev: bytes,
        kind: str,
        payload: Sequence[object],
        key: Ed25519PrivateKey | None = None,
    ) -> bytes:
        """Signed by the identity, unless another ``key`` is given."""
        at = int(timezone.now().timestamp() * 1000)
        body = cbor2.dumps([1, seq, prev, kind, list(payload), at], canonical=True)
        signature = (key or self.key).sign(wire.label("chain") + body)
        return cbor2.dumps([body, signature], canonical=True)

    def recovery_hash(self) -> bytes:
        return hashlib.sha256(self.recovery_proof).digest()

    def keys(self, *, device: bytes | None = None) -> NewKeys:
        genesis = self.genesis()
        return NewKeys(
            chain=(genesis, self.device_add(before=genesis, seq=2, device=device)),
            doors=(make_door("password"), make_door("recovery")),
            recovery_hash=self.recovery_hash(),
            vault=VaultBox(1, os.urandom(200)),
        )


def make_door(kind: DoorKind) -> DoorContent:
    return DoorContent(kind, os.urandom(wire.ACCOUNT_KEY_BYTES), os.urandom(1168), os.urandom(1168))


def make_user(
    name: str,
    password: str = PASSWORD,
    *,
    identity: Identity | None = None,
    device: bytes | None = None,
) -> User:
    """Somebody who signed up in a browser, with keys. ``device`` is that browser's public key, if a test signs with it."""
    keys = (identity or Identity(name)).keys(device=device)
    return passwords.sign_up(username=name, auth_key=auth_key_for(name, password), keys=keys)[0]


def make_user_without_keys(name: str, password: str = PASSWORD) -> User:
    """Somebody whom `manage.py` made: keys come with the first log-in in a browser."""
    return User.objects.create_user(name, password)


def client_of(user: User, *, device: bytes | None = None) -> Client:
    """A browser in which this person is logged in; the session is bound to ``device``, if one is given.

    An operator's has proved the second factor.
    """
    client = Client()
    client.force_login(user)
    session_key = client.session.session_key
    assert session_key is not None
    sessions.begin(
        user=user, session_key=session_key, details=Details("Firefox on Linux", "127.0.0.1", device)
    )
    if user.is_staff:
        prove_second_factor(client, user)
    return client


def prove_second_factor(client: Client, user: User) -> None:
    """With an authenticator of theirs that is made for it, unless they have one."""
    factor, _ = TOTPDevice.objects.get_or_create(
        user=user, confirmed=True, defaults={"name": "authenticator"}
    )
    request = HttpRequest()
    request.session = client.session
    second_factor.note_proved(request, factor)
    request.session.save()


def befriend(sender: User, friend: User) -> Friendship:
    """An open friendship: ``sender`` (side 0) asked, ``friend`` accepted."""
    friends_services.request_friendship(sender=sender, username=friend.username)
    asked = Friendship.objects.between(sender, friend).get()
    friends_services.accept_requests(accepted_by=friend, public_ids=[asked.public_id])
    return Friendship.objects.between(sender, friend).get()
