"""Many people at once, as rows: sign-up and friendship by the services would take hours for thousands.

Columns that name people are sealed as the models seal them, and sessions are signed as a log-in signs them, so that the
server finds nothing amiss. Nobody of them has keys: they come, look who is online, and write nothing.

python -m bench.crowd PEOPLE FRIENDS_EACH, in the environment of a prepared server; prints JSON.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from accounts.models import User

_AT_ONCE = 500


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "securechat.settings")
    import django

    django.setup()
    people, friends_each = map(int, sys.argv[1:])
    users = make_people(people)
    befriend(circle(users, friends_each))
    print(json.dumps({"cookies": make_cookies(users)}))


def circle(users: Sequence[User], friends_each: int) -> Iterable[tuple[User, User]]:
    """Everybody is a friend of the next half of ``friends_each`` people, and so of those before."""
    for index, user in enumerate(users):
        for distance in range(1, friends_each // 2 + 1):
            yield user, users[(index + distance) % len(users)]


def make_people(count: int) -> list[User]:
    from django.contrib.auth.hashers import make_password

    from accounts.models import User

    prefix = f"crowd{secrets.token_hex(3)}x"
    nobody_logs_in = make_password(None)
    made = [
        User(username=f"{prefix}{number}", client_salt=secrets.token_bytes(32), password=nobody_logs_in)
        for number in range(count)
    ]
    User.objects.bulk_create(made, batch_size=_AT_ONCE)
    return list(User.objects.filter(username__startswith=prefix).order_by("pk"))


def befriend(pairs: Iterable[tuple[User, User]]) -> list[UUID]:
    """Open friendships with an empty conversation each; their ids."""
    from django.db import transaction
    from django.utils import timezone

    from friends.models import Friendship
    from messaging.models import Conversation

    now = timezone.now()
    ids: list[UUID] = []
    left = iter(pairs)
    with transaction.atomic():
        while some := list(islice(left, _AT_ONCE)):
            rows = [Friendship.asked(sender=sender, friend=friend, now=now) for sender, friend in some]
            for row in rows:
                row.accept(now=now)
            Friendship.objects.bulk_create(rows)
            Conversation.objects.bulk_create([Conversation.of(row.public_id) for row in rows])
            ids += [row.public_id for row in rows]
    return ids


def make_cookies(users: Sequence[User]) -> list[str]:
    """A session for each, as a log-in leaves it."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session
    from django.utils import timezone

    from accounts.models import BrowserSession
    from accounts.models.browser_session import Details

    store = SessionStore()
    ends = timezone.now() + timedelta(days=1)
    sessions, browsers = [], []
    for user in users:
        data: dict[str, Any] = {
            SESSION_KEY: str(user.pk),
            BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0],
            HASH_SESSION_KEY: user.get_session_auth_hash(),
        }
        key = secrets.token_hex(16)
        sessions.append(Session(session_key=key, session_data=store.encode(data), expire_date=ends))
        browser = BrowserSession(user=user, session_id=key)
        browser.details = Details("Firefox on Linux", "127.0.0.1")
        browsers.append(browser)
    Session.objects.bulk_create(sessions, batch_size=_AT_ONCE)
    BrowserSession.objects.bulk_create(browsers, batch_size=_AT_ONCE)
    return [f"{settings.SESSION_COOKIE_NAME}={session.session_key}" for session in sessions]


if __name__ == "__main__":
    main()
