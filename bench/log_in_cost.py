"""What one log-in costs the server: our hasher over a browser-stretched key, against Django's default.

DJANGO_SETTINGS_MODULE=securechat.settings python -m bench.log_in_cost
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable

import django

from bench.results import record


def seconds_each(check: Callable[[], bool], *, times: int) -> float:
    assert check()
    started = time.perf_counter()
    for _ in range(times):
        check()
    return (time.perf_counter() - started) / times


def main() -> None:
    django.setup()
    from django.contrib.auth.hashers import PBKDF2PasswordHasher

    from accounts.hashers import SecureChatPasswordHasher

    auth_key = "ak1:" + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    ours, default = SecureChatPasswordHasher(), PBKDF2PasswordHasher()
    our_record, default_record = (
        ours.encode(auth_key, ours.salt()),
        default.encode("Passw0rd!", default.salt()),
    )
    rounds = [
        (
            seconds_each(lambda: ours.verify(auth_key, our_record), times=2000),
            seconds_each(lambda: default.verify("Passw0rd!", default_record), times=3),
        )
        for _ in range(3)
    ]
    our_seconds, default_seconds = (sorted(column)[1] for column in zip(*rounds, strict=True))
    record(
        "log_in_cost",
        {
            "securechat_microseconds": round(our_seconds * 1e6, 1),
            "django_default_microseconds": round(default_seconds * 1e6),
            "django_default_over_securechat": round(default_seconds / our_seconds),
        },
        command="DJANGO_SETTINGS_MODULE=securechat.settings python -m bench.log_in_cost",
    )


if __name__ == "__main__":
    main()
