"""The chat page and the way to it."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from friends import services
from messaging import presence
from messaging.models import Conversation
from messaging.presence import connection_key
from securechat.redis import client as redis_client
from tests import factories
from tests.messaging.conftest import Person, make_person

pytestmark = pytest.mark.django_db(transaction=True)


def page_data(response: Any) -> dict[str, object]:
    found = re.search(
        r'<script id="page-data" type="application/json">(.*?)</script>', response.content.decode()
    )
    assert found
    data: dict[str, object] = json.loads(found[1])
    return data


def get(person: Person, path: str) -> Any:
    return person.client.get(path, secure=True)


def start(person: Person, **fields: object) -> Any:
    return person.client.post(reverse("chat-start"), fields, secure=True)


def told(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def come_online(person: Person) -> None:
    key = connection_key(person.user.pk, "tab")
    redis_client().register_script(presence._RENEW)(keys=presence._KEYS, args=[10_000, key])


def test_the_page_knows_who_one_is_and_where_the_socket_is(a: Person, b: Person, conversation: UUID) -> None:
    listed = page_data(get(a, "/chat/"))
    room = page_data(get(a, f"/chat/{conversation}/"))

    assert (listed["name"], listed["folded_name"], listed["conversation"]) == ("Alice1", "alice1", None)
    assert (listed["origin"], listed["socket_path"]) == ("https://testserver", "/ws/")
    assert room["conversation"] == str(conversation)


def test_a_foreign_conversation_and_none_are_the_same_page(
    a: Person, b: Person, m: Person, conversation: UUID
) -> None:
    foreign, absent = get(m, f"/chat/{conversation}/"), get(m, f"/chat/{uuid4()}/")

    assert (foreign.status_code, absent.status_code) == (404, 404)
    without_chance = [
        re.sub(
            rb'[0-9a-f-]{36}|"csrf-token" content="\w{64}"|csrfmiddlewaretoken" value="\w{64}"',
            b"",
            answer.content,
        )
        for answer in (foreign, absent)
    ]
    assert without_chance[0] == without_chance[1]


def test_who_is_not_signed_in_is_sent_to_log_in(transactional_db: None) -> None:
    for path in ("/chat/", f"/chat/{uuid4()}/"):
        answer = Client().get(path, secure=True)
        assert (answer.status_code, answer["Location"]) == (302, f"/log-in/?next={path}")


def test_the_room_of_an_ended_friendship_stays_open_for_reading(
    a: Person, b: Person, conversation: UUID
) -> None:
    services.end_friendship(ended_by=b.user, public_id=conversation)

    assert get(a, f"/chat/{conversation}/").status_code == 200


def test_a_chat_with_nobody_is_not_started(a: Person, b: Person, conversation: UUID) -> None:
    for fields in ({}, {"friend": "no id"}, {"friend": str(uuid4())}, {"offline": "1"}):
        answer = start(a, **fields)

        assert answer["Location"] == reverse("friend-list")
        assert told(answer)[-1] == "Select at least one friend to chat with."


def test_a_chat_starts_with_a_friend_who_is_online(a: Person, b: Person, conversation: UUID) -> None:
    come_online(b)

    answer = start(a, friend=str(conversation))

    assert (answer.status_code, answer["Location"]) == (302, f"/chat/{conversation}/")
    assert get(a, answer["Location"]).status_code == 200


def test_a_friend_who_is_offline_gets_a_message_left(a: Person, b: Person, conversation: UUID) -> None:
    refused = start(a, friend=str(conversation))
    assert refused["Location"] == reverse("friend-list")
    assert told(refused) == ["Bobby is offline. Use Leave a message; it arrives when they are back."]

    assert start(a, friend=str(conversation), offline="1")["Location"] == f"/chat/{conversation}/"


def test_the_strict_rule_knows_no_messages_to_who_is_offline(
    a: Person, b: Person, conversation: UUID, settings: Settings
) -> None:
    settings.CHAT_OFFLINE_MESSAGES = False

    refused = start(a, friend=str(conversation), offline="1")

    assert refused["Location"] == reverse("friend-list")
    assert "Leave a message" not in told(refused)[0]
    come_online(b)
    assert start(a, friend=str(conversation))["Location"] == f"/chat/{conversation}/"


def test_of_several_chosen_friends_the_first_is_opened(
    a: Person, b: Person, m: Person, conversation: UUID
) -> None:
    come_online(b)

    answer = start(a, friend=[str(uuid4()), str(conversation)])

    assert answer["Location"] == f"/chat/{conversation}/"


def test_a_chat_cannot_be_started_for_others_or_by_a_link(
    a: Person, b: Person, m: Person, conversation: UUID
) -> None:
    come_online(b)

    assert start(m, friend=str(conversation))["Location"] == reverse("friend-list")
    assert get(a, reverse("chat-start")).status_code == 405


def test_without_redis_a_friend_may_be_online(
    a: Person, b: Person, conversation: UUID, settings: Settings
) -> None:
    settings.EFFECTIVE_REDIS_URL = "unix:///nonexistent/valkey.sock"

    assert start(a, friend=str(conversation))["Location"] == f"/chat/{conversation}/"


def test_operators_see_how_much_and_when_and_nothing_else(a: Person, b: Person, conversation: UUID) -> None:
    get(a, f"/chat/{conversation}/")
    operator = make_person("Operator")
    operator.user.is_staff = operator.user.is_superuser = True
    operator.user.save()
    client = factories.client_of(operator.user)
    assert Conversation.objects.count() == 1

    listed = client.get(reverse("admin:messaging_conversation_changelist"), secure=True)

    assert listed.status_code == 200
    for secret in ("Alice1", "Bobby", str(conversation)):
        assert secret not in listed.content.decode()
    for page in (
        reverse("admin:messaging_conversation_add"),
        reverse("admin:messaging_conversation_delete", args=[conversation]),
    ):
        assert client.get(page, secure=True).status_code == 403


def test_the_chat_may_ask_for_the_camera_and_for_no_other_device(a: Person) -> None:
    response = get(a, reverse("chat"))

    assert response.headers["Permissions-Policy"] == "camera=(self), microphone=(), geolocation=()"
