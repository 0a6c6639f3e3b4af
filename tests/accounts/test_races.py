"""Two requests at the same moment: one wins, the other is told, nothing is half done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connections

from accounts.models import KeyChainEntry, User, Vault
from accounts.services import key_chain
from tests.accounts.browser import (
    Browser,
    keys_body,
    next_entry,
    next_vault,
    password_body,
    recovery_body,
    sign_up_body,
    signed_in,
)
from tests.factories import Identity, make_user, make_user_without_keys

pytestmark = pytest.mark.django_db(transaction=True)
AT_ONCE = 4


@pytest.fixture
def alice(transactional_db: None, identity: Identity) -> User:
    return make_user("Alice1", identity=identity)


def at_once(requests: Sequence[Callable[[], Any]]) -> Counter[tuple[int, str]]:
    """Status and code of each answer."""
    barrier = Barrier(len(requests))

    def run(request: Callable[[], Any]) -> tuple[int, str]:
        try:
            barrier.wait(timeout=10)
            response = request()
            return response.status_code, response.json().get("code", "")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(requests)) as threads:
        return Counter(threads.map(run, requests))


def request_of(browser: Browser, method: str, path: str, body: object) -> Callable[[], Any]:
    browser._token()
    return lambda: browser.request(method, path, body)


def test_one_name_is_taken_once_whatever_the_case() -> None:
    names = ("Test01", "TEST01", "test01", "tEST01")
    bodies = [sign_up_body(name) for name in names]

    answers = at_once([request_of(Browser(), "POST", "/api/sign-up/", body) for body in bodies])

    assert answers == {(201, ""): 1, (409, "username_taken"): 3}
    assert User.objects.count() == 1
    assert KeyChainEntry.objects.count() == 2


def test_keys_are_made_once() -> None:
    make_user_without_keys("Oscar1")
    browsers = [signed_in("Oscar1") for _ in range(AT_ONCE)]
    bodies = [{"keys": keys_body(Identity("Oscar1").keys())} for _ in browsers]

    pairs = zip(browsers, bodies, strict=True)
    answers = at_once([request_of(browser, "POST", "/api/keys/", body) for browser, body in pairs])

    assert answers == {(201, ""): 1, (409, "keys_exist"): 3}
    assert KeyChainEntry.objects.count() == 2


def test_one_browser_at_a_time_is_added_to_a_chain(alice: User, identity: Identity) -> None:
    browsers = [signed_in("Alice1") for _ in range(AT_ONCE)]

    answers = at_once(
        [
            request_of(browser, "POST", "/api/key-chain/", {"entry": next_entry(alice, identity)})
            for browser in browsers
        ]
    )

    assert answers == {(201, ""): 1, (409, "chain_conflict"): 3}
    assert len(key_chain.entries_of(alice)) == 3


def test_one_vault_wins(alice: User) -> None:
    browsers = [signed_in("Alice1") for _ in range(AT_ONCE)]

    answers = at_once([request_of(each, "PUT", "/api/vault/", next_vault(alice)) for each in browsers])

    assert answers == {(200, ""): 1, (409, "vault_conflict"): 3}
    assert Vault.objects.get(user=alice).version == 2


def test_one_new_password_wins(alice: User) -> None:
    browsers = [signed_in("Alice1") for _ in range(2)]
    new = ("An0ther#One", "An0ther#Two")
    bodies = [password_body(alice, new=password) for password in new]

    pairs = zip(browsers, bodies, strict=True)
    answers = at_once([request_of(browser, "POST", "/api/password/", body) for browser, body in pairs])

    assert answers[(200, "")] == 1
    assert sum(Browser().log_in("Alice1", password).status_code == 200 for password in new) == 1


def test_a_recovery_code_works_once_also_at_the_same_moment(alice: User, identity: Identity) -> None:
    bodies = [recovery_body(alice, identity) for _ in range(AT_ONCE)]

    answers = at_once([request_of(Browser(), "POST", "/api/recovery/finish/", body) for body in bodies])

    assert answers == {(200, ""): 1, (403, "wrong_recovery"): 3}
    assert len(key_chain.entries_of(alice)) == 3
