"""Alice and Bob are friends with keys and a conversation, and each has a browser that can write in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connections
from django.test import Client

from accounts.models import User
from friends import services
from friends.models import Friendship
from messaging.hub import shut_down
from tests import factories
from tests.messaging.browser import Socket
from tests.messaging.make_objects import Tab


@dataclass(frozen=True)
class Person:
    user: User
    key: Ed25519PrivateKey
    client: Client

    def socket(self) -> Socket:
        return Socket(self.client)

    def tab(self, conversation: UUID) -> Tab:
        return Tab(conversation, self.key)


def make_person(name: str) -> Person:
    key = Ed25519PrivateKey.generate()
    user = factories.make_user(name, device=key.public_key().public_bytes_raw())
    return Person(user, key, factories.client_of(user))


def befriend(first: Person, second: Person) -> UUID:
    """The conversation's id."""
    services.request_friendship(sender=first.user, username=second.user.username)
    services.request_friendship(sender=second.user, username=first.user.username)
    return Friendship.objects.between(first.user, second.user).get().public_id


@pytest.fixture
def a(transactional_db: None) -> Person:
    return make_person("Alice1")


@pytest.fixture
def b(transactional_db: None) -> Person:
    return make_person("Bobby")


@pytest.fixture
def m(transactional_db: None) -> Person:
    return make_person("Mallory")


@pytest.fixture
def conversation(a: Person, b: Person) -> UUID:
    return befriend(a, b)


@pytest_asyncio.fixture(autouse=True)
async def _hub_ends() -> AsyncIterator[None]:
    """Also ends the database connection of the thread in which tests and Channels' own middleware ask it."""
    yield
    await shut_down()
    await sync_to_async(connections.close_all)()
