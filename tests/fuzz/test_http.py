"""Whatever is posted to the account's JSON requests, the server answers; it never breaks, and says nothing it should not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver

from accounts import urls
from accounts.json_api import Body
from accounts.models import User
from accounts.wire import encode_base64url
from securechat import ratelimit
from tests import factories

CASES = int(os.environ.get("FUZZ_HTTP_CASES", "1500"))
_SIZES = (0, 1, 16, 31, 32, 33, 64, 1216, 1168, 3000)


def _api_paths() -> list[str]:
    (api,) = [pattern for pattern in urls.urlpatterns if isinstance(pattern, URLResolver)]
    return [f"/api/{pattern.pattern}" for pattern in api.url_patterns if isinstance(pattern, URLPattern)]


def _bodies(of: type[Body] = Body) -> Iterator[type[Body]]:
    for body in of.__subclasses__():
        yield body
        yield from _bodies(body)


def _text(random: Random) -> str:
    return random.choice(
        (
            "Alice1",
            "nobody0",
            "",
            "\0",
            "\ud800",
            "password",
            "recovery",
            "ak1:" + encode_base64url(random.randbytes(32)),
            factories.auth_key_for("Alice1"),
            encode_base64url(random.randbytes(random.choice(_SIZES))),
        )
    )


def _value(random: Random, depth: int = 0) -> Any:
    """What such a field may hold, or anything else that JSON can say."""
    roll = random.random()
    if roll < 0.6 or depth > 3:
        return _text(random)
    if roll < 0.7:
        return random.choice((0, 1, 2, 3, -1, 2**53, 2**64, 1e400, None, True))
    if roll < 0.8:
        return {"version": random.choice((1, 2, 2**60)), "box": _text(random)}
    if roll < 0.9:
        return [_value(random, depth + 1) for _ in range(random.randrange(3))]
    return {
        "kind": random.choice(("password", "recovery", "passkey")),
        "public": encode_base64url(random.randbytes(1216)),
        "sealed_vault_key": _text(random),
        "sealed_identity": _text(random),
    }


def _nested(random: Random, body: type[Body]) -> dict[str, Any]:
    return {name: _value(random) for name in body.model_fields if random.random() > 0.05}


def test_every_request_is_answered(alice: User, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratelimit, "check", lambda *_, **__: None)
    client.force_login(alice)
    client.raise_request_exception = False
    kinds, paths = list(_bodies()), _api_paths()
    assert len(paths) > 8
    for seed in range(CASES):
        random = Random(seed)  # noqa: S311 - a test may repeat itself
        body = json.dumps(_nested(random, random.choice(kinds)))
        path = random.choice(paths)

        answer = client.generic("POST", path, body, content_type="application/json")

        assert answer.status_code < 500, (seed, path, body)
        if answer.status_code >= 400 and answer.status_code != 405:
            assert set(answer.json()) == {"code", "message", "fields", "retry_after"}, (seed, path, body)
