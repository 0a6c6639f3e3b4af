"""Two requests at the same moment: one wins, the other is told, nothing is half done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from accounts.json_api import door_data, vault_data
from accounts.models import BrowserSession, KeyChainEntry, User, Vault
from accounts.services import key_chain, vaults
from accounts.wire import encode_base64url
from tests.accounts.browser import (
    Browser,
    chain_body,
    keys_body,
    next_entry,
    next_vault,
    password_body,
    recovery_body,
    renewal_body,
    reset_body,
    sign_up_body,
    signed_in,
)
from tests.accounts.chains import Draft
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
            request_of(browser, "POST", "/api/key-chain/", chain_body(Draft.of(alice, identity).add()))
            for browser in browsers
        ]
    )

    assert answers == {(201, ""): 1, (409, "chain_conflict"): 3}
    assert len(key_chain.entries_of(alice)) == 3


def test_one_renewal_wins(alice: User, identity: Identity) -> None:
    browsers = [signed_in("Alice1") for _ in range(AT_ONCE)]
    bodies = [renewal_body(alice, Draft.of(alice, identity).renew()) for _ in browsers]

    pairs = zip(browsers, bodies, strict=True)
    answers = at_once([request_of(each, "POST", "/api/keys/renew/", body) for each, body in pairs])

    assert answers == {(200, ""): 1, (409, "chain_conflict"): 3}
    assert_stored_whole(alice, bodies)


def test_a_renewal_and_a_vault_write_do_not_mix(alice: User, identity: Identity) -> None:
    """Whichever is first: the vault that stays is of the keys on the chain."""
    browsers = [signed_in("Alice1") for _ in range(AT_ONCE)]
    renewal = renewal_body(alice, Draft.of(alice, identity).renew())
    writes = [next_vault(alice) for _ in range(3)]

    answers = at_once(
        [
            request_of(browsers[0], "POST", "/api/keys/renew/", renewal),
            *(
                request_of(each, "PUT", "/api/vault/", vault)
                for each, vault in zip(browsers[1:], writes, strict=True)
            ),
        ]
    )

    assert answers == {(200, ""): 1, (409, "vault_conflict"): 3}
    stored = browsers[0].get("/api/keys/").json()
    renewed = len(stored["chain"]) == 3
    assert (stored["vault"] == renewal["vault"]) == renewed
    assert (stored["doors"] == renewal["doors"]) == renewed


def test_a_renewal_and_another_browser_do_not_mix(alice: User, identity: Identity) -> None:
    browsers = [signed_in("Alice1") for _ in range(2)]
    renewal = renewal_body(alice, Draft.of(alice, identity).renew())
    added = {"entries": [next_entry(alice, identity)], "vault": None}

    answers = at_once(
        [
            request_of(browsers[0], "POST", "/api/keys/renew/", renewal),
            request_of(browsers[1], "POST", "/api/key-chain/", added),
        ]
    )

    assert answers[409, "chain_conflict"] == 1
    stored = browsers[0].get("/api/keys/").json()
    assert len(stored["chain"]) == 3
    assert (stored["vault"] == renewal["vault"]) == (stored["chain"][2] == renewal["entries"][0])


def test_one_fresh_start_wins(alice: User) -> None:
    browsers, identities = [signed_in("Alice1") for _ in range(2)], [Identity("Alice1") for _ in range(2)]
    bodies = [reset_body(alice, Draft.of(alice, each).reset(each).add()) for each in identities]

    pairs = zip(browsers, bodies, strict=True)
    answers = at_once([request_of(each, "POST", "/api/keys/reset/", body) for each, body in pairs])

    assert answers[200, ""] == 1
    assert set(answers) <= {(200, ""), (409, "chain_conflict"), (401, "signed_out")}
    assert_stored_whole(alice, bodies)
    assert [browser.is_signed_in for browser in browsers].count(True) == 1


@pytest.mark.parametrize("after", [key_chain.entries_of, vaults.doors_of])
def test_who_reads_the_keys_during_a_renewal_gets_them_whole(
    alice: User, identity: Identity, after: Callable[[User], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A door to one vault key beside a vault under another would look like tampering."""
    browser = signed_in("Alice1")
    renewal = renewal_body(alice, Draft.of(alice, identity).renew())
    module = key_chain if after is key_chain.entries_of else vaults
    renew = request_of(browser, "POST", "/api/keys/renew/", renewal)

    def read(user: User) -> Any:
        monkeypatch.setattr(module, after.__name__, after)
        found = after(user)
        assert renew().status_code == 200
        return found

    monkeypatch.setattr(module, after.__name__, read)
    stored = vaults.keys_of(alice)

    assert stored is not None
    assert stored.vault.version == renewal["vault"]["version"]
    assert_stored_whole(alice, [renewal])
    assert [door_data(each) for each in stored.doors] == renewal["doors"]
    assert len(stored.chain) == 3


def assert_stored_whole(user: User, bodies: Sequence[dict[str, Any]]) -> None:
    """Chain, doors and vault are those of one and the same body."""
    stored = vaults.keys_of(user)
    assert stored is not None
    (won,) = [body for body in bodies if body["vault"] == vault_data(stored.vault)]
    assert [door_data(each) for each in stored.doors] == won["doors"]
    assert [encode_base64url(entry) for entry in stored.chain[2:]] == won["entries"]


def test_two_first_requests_of_a_session_write_it_down_once(alice: User) -> None:
    client = Client()
    client.force_login(alice)
    clients = [Client() for _ in range(AT_ONCE)]
    for each in clients:
        each.cookies = client.cookies

    answers = at_once([partial(each.get, "/api/keys/") for each in clients])

    assert answers == {(200, ""): AT_ONCE}
    assert BrowserSession.objects.count() == 1


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
