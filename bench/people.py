"""Pairs of friends with keys, a session and a conversation each, made by the services of the server that is measured.

python -m bench.people COUNT, in that server's environment; prints JSON.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from dataclasses import asdict, dataclass

_SEED_BYTES = 32


@dataclass(frozen=True)
class Person:
    cookie: str
    device_seed: str
    """Hexadecimal."""


@dataclass(frozen=True)
class Friends:
    conversation: str
    first: Person
    second: Person


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "securechat.settings")
    import django

    django.setup()
    prefix = f"bench{secrets.token_hex(3)}"
    pairs = [asdict(_friends(f"{prefix}x{number}")) for number in range(int(sys.argv[1]))]
    print(json.dumps(pairs))


def load(text: str) -> list[Friends]:
    return [
        Friends(pair["conversation"], Person(**pair["first"]), Person(**pair["second"]))
        for pair in json.loads(text)
    ]


def _friends(name: str) -> Friends:
    from tests import factories

    people, users = [], []
    for side in "ab":
        user, person = _person(name + side)
        people.append(person)
        users.append(user)
    friendship = factories.befriend(*users)
    return Friends(str(friendship.public_id), *people)


def _person(name: str):  # type: ignore[no-untyped-def] # Models load after the settings.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from django.conf import settings

    from accounts.services import passwords
    from accounts.wire import AUTH_KEY_PREFIX, encode_base64url
    from tests import factories

    seed = secrets.token_bytes(_SEED_BYTES)
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    user, _ = passwords.sign_up(
        username=name,
        auth_key=AUTH_KEY_PREFIX + encode_base64url(secrets.token_bytes(32)),
        keys=factories.Identity(name).keys(device=public),
    )
    client = factories.client_of(user, device=public)
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.session.session_key}"
    return user, Person(cookie, seed.hex())


if __name__ == "__main__":
    main()
