"""Every address that answers with a page, found through the URLs themselves: what it loads has its hash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.http import HttpResponseBase
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from accounts.models import User
from friends.models import Friendship
from securechat import views
from tests.test_pages import Markup

ClientOf = Callable[[User], Client]

# Django's own pages, with Django's own scripts; the policy for them is another (content_policy.py).
ADMIN = f"{settings.ADMIN_PATH}/"


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """Each route's name, and the names of its arguments."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            if str(pattern.pattern) != ADMIN:
                yield from routes(pattern.url_patterns, prefix + str(pattern.pattern))
        else:
            assert pattern.name is not None, f"{prefix}{pattern.pattern} has no name."
            yield pattern.name, list(pattern.pattern.converters)


ROUTES = dict(routes(get_resolver().url_patterns))
SURELY_OPENED = {
    "stranger": {"start", "sign-up", "log-in", "recover", "trust", "about", "what-the-server-sees"},
    "person": {"start", "settings", "browsers", "friend-list", "friend-link", "chat", "chat-room", "about"},
}


@pytest.fixture
def addresses(friendship: Friendship) -> dict[str, str]:
    """Of every route. An argument that is new here has to be given a value, or it cannot be opened."""
    values = {"username": "Bobby", "public_id": friendship.public_id, "conversation": friendship.public_id}
    return {
        name: reverse(name, kwargs={argument: values[argument] for argument in arguments})
        for name, arguments in ROUTES.items()
    }


def is_page(response: HttpResponseBase) -> bool:
    return response.headers.get("Content-Type", "").startswith("text/html")


def faults_of(response: Any) -> list[str]:
    markup = Markup(response.content.decode())
    return [*markup.refused, *markup.without_integrity]


@pytest.mark.parametrize("who", ["stranger", "person"])
def test_whatever_a_page_loads_has_its_hash(
    who: str, alice: User, client_of: ClientOf, addresses: dict[str, str]
) -> None:
    pages = {}
    for name, address in addresses.items():
        client = client_of(alice) if who == "person" else Client()
        response = client.get(address)
        if response.status_code == 200 and is_page(response):
            pages[name] = response

    assert {name: faults for name, page in pages.items() if (faults := faults_of(page))} == {}
    assert all("integrity=" in page.content.decode() for page in pages.values())
    assert pages.keys() >= SURELY_OPENED[who]


@pytest.mark.django_db
def test_pages_that_say_what_went_wrong_load_nothing_without_its_hash(
    rf: RequestFactory, alice: User
) -> None:
    request = rf.get("/")
    request.user = alice

    pages = [
        views.not_found(request, Exception()),
        views.forbidden(request, Exception()),
        views.csrf_failure(request),
        views.server_error(request),
    ]

    for page in pages:
        assert "integrity=" in page.content.decode()
        assert faults_of(page) == []


@pytest.mark.django_db
def test_the_log_in_of_the_admin_loads_nothing_without_its_hash() -> None:
    response = Client().get(reverse("admin:login"))

    assert faults_of(response) == []
    assert "integrity=" in response.content.decode()
