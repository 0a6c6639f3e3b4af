"""What each list of the admin costs where there is much: a hundred thousand people and a million friendships.

python -m bench.admin [--people 100000] [--friendships 1000000] [--postgresql] [--folder /dev/shm]

Every list plain, searched, by each choice of each filter, by each column that sorts, and its last page; and a person's page.
Pages are asked of Django in a process of its own, without a server; each is asked three times, and the median counts.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.inside import figures_of

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.http import HttpRequest
    from django.test import Client

    from accounts.models import User

MOST_QUERIES = 20
MOST_MILLISECONDS = 300
_TIMES = 3
_AT_ONCE = 1_000
_OF_A_HUNDRED = (("approve", 80), ("default", 90), ("reject", 94), ("ended", 98), ("blocked", 100))
_PER_PERSON = 10  # People for each report, sanction and event.


def main() -> None:
    arguments = _arguments()
    if arguments.inside:
        print(json.dumps(_measure(arguments)))
        return
    from bench.postgresql import PostgreSQL
    from bench.results import record

    name = "admin_postgresql" if arguments.postgresql else "admin"
    with tempfile.TemporaryDirectory(prefix="securechat-bench-", dir=arguments.folder) as folder:
        if not arguments.postgresql:
            figures = figures_of("bench.admin", Path(folder) / "server", {})
        else:
            database = PostgreSQL(Path(folder) / "postgresql-data")
            database.start()
            try:
                figures = figures_of("bench.admin", Path(folder) / "server", {"DATABASE_URL": database.url})
            finally:
                database.stop()
    record(name, figures, command=" ".join(["python -m bench.admin", *sys.argv[1:]]))
    if figures["over_the_bounds"]:
        sys.exit(1)


def views(
    model_admin: ModelAdmin[Any], request: HttpRequest, searched: str = ""
) -> Iterator[tuple[str, str]]:
    """What can be asked of a list: a name for it, and the query string."""
    changes = model_admin.get_changelist_instance(request)
    yield "plain", ""
    yield "last page", f"?p={changes.paginator.num_pages}"
    if searched:
        yield "searched", f"?q={searched}"
    for spec in changes.filter_specs:
        for choice in spec.choices(changes):
            if not choice["selected"]:
                yield f"{spec.title}: {choice['display']}", str(choice["query_string"])
    for place, column in enumerate(changes.list_display):
        if column in (changes.sortable_by or ()) and changes.get_ordering_field(column):
            yield f"by {column}", f"?o={place}"
            yield f"by {column}, last first", f"?o=-{place}"


def pages(root: User, searched: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Of each list of the admin: its model, a name for the page, and its address."""
    from django.contrib import admin
    from django.test import RequestFactory
    from django.urls import reverse

    request = RequestFactory().get("/")
    request.user = root
    for model, model_admin in admin.site._registry.items():
        address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        for name, query in views(model_admin, request, searched.get(model._meta.label, "")):
            yield model._meta.label, name, address + query


def fill(people: int, friendships: int) -> list[User]:
    """Rows as the server leaves them, in bulk, with all that can become of a friendship."""
    from bench import crowd

    users = crowd.make_people(people)
    crowd.make_cookies(users)
    _befriend(users, friendships)
    _moderate(users)
    return users


def _befriend(users: list[User], count: int) -> None:
    from django.utils import timezone

    from friends.models import Friendship
    from messaging.models import Conversation

    now, some = timezone.now(), []
    each = -(-count // len(users))
    pairs = (
        (user, users[(index + distance) % len(users)])
        for index, user in enumerate(users)
        for distance in range(1, each + 1)
    )
    for number, (sender, friend) in zip(range(count), pairs, strict=False):
        asked_at = now - timedelta(minutes=number % 1_000_000)
        some.append(
            _in_a_state(Friendship.asked(sender=sender, friend=friend, now=asked_at), number, asked_at)
        )
        if len(some) == _AT_ONCE or number == count - 1:
            Friendship.objects.bulk_create(some)
            approved = [row.public_id for row in some if row.was_approved]
            Conversation.objects.bulk_create([Conversation.of(public_id) for public_id in approved])
            some = []


def _in_a_state(row: Any, number: int, at: datetime) -> Any:
    """By the model's own transitions."""
    status = next(status for status, below in _OF_A_HUNDRED if number % 100 < below)
    match status:
        case "approve":
            row.accept(now=at)
        case "reject":
            row.reject(now=at)
        case "ended":
            row.accept(now=at)
            row.end(now=at)
        case "blocked":
            row.block(by=1, now=at)
            if number % 3 == 0:
                row.block(by=0, now=at)
    return row


def _moderate(users: list[User]) -> None:
    """Sanctions, reports and events, one for each ten people; the log of Django, too."""
    from django.contrib.admin.models import CHANGE, LogEntry
    from django.contrib.contenttypes.models import ContentType
    from django.db import transaction

    from accounts.models import Sanction
    from messaging.models import Report
    from securechat import audit

    some, by = users[::_PER_PERSON], users[0]
    kind = ContentType.objects.get_for_model(type(by))
    Sanction.objects.bulk_create(
        [Sanction(user=user, kind="warning", reason="Stop.", imposed_by=by) for user in some],
        batch_size=_AT_ONCE,
    )
    Report.objects.bulk_create(
        [
            Report(
                reported=user,
                reported_name=user.username,
                category="spam",
                reporter_index=secrets.token_bytes(32),
                sealed_evidence=b"",
            )
            for user in some
        ],
        batch_size=_AT_ONCE,
    )
    LogEntry.objects.bulk_create(
        [
            LogEntry(
                user=by,
                content_type=kind,
                object_id=str(user.pk),
                object_repr=user.username,
                action_flag=CHANGE,
            )
            for user in some
        ],
        batch_size=_AT_ONCE,
    )
    with transaction.atomic():
        for user in some:
            audit.record("user.warn", by=by, on=f"user:{user.pk}", source="bench")


def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "securechat.settings")
    import django

    django.setup()
    from django.conf import settings
    from django.db import connection
    from django.urls import reverse

    from accounts.models import User
    from securechat.serving.valkey import EmbeddedValkey
    from tests import factories

    with EmbeddedValkey(Path(settings.EMBEDDED_REDIS_SOCKET)):
        began = time.monotonic()
        users = fill(arguments.people, arguments.friendships)
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("VACUUM ANALYZE")  # As its autovacuum does by itself.
        filled = time.monotonic() - began
        root = User.objects.create_superuser("Root01", factories.PASSWORD)
        client = factories.client_of(root)
        some = users[len(users) // 2]
        by_name = ("accounts.User", "accounts.BrowserSession", "accounts.Sanction", "messaging.Report")
        searched = dict.fromkeys((*by_name, "friends.Friendship"), some.username)
        searched |= {"securechat.AuditEvent": f"user:{users[0].pk}", "admin.LogEntry": users[0].username}
        figures: dict[str, Any] = {}
        for label, name, address in pages(root, searched):
            figures.setdefault(label, {})[name] = _ask(client, address)
        page = reverse("admin:accounts_user_change", args=[some.pk])
        figures["accounts.User"]["a person's page"] = _ask(client, page)
    return {
        "database": connection.vendor,
        "people": arguments.people,
        "friendships": arguments.friendships,
        "seconds_to_fill": round(filled),
        "pages": sum(map(len, figures.values())),
        "most_queries": max(each["queries"] for of in figures.values() for each in of.values()),
        "most_milliseconds": max(each["milliseconds"] for of in figures.values() for each in of.values()),
        "over_the_bounds": [
            f"{label} {name}"
            for label, of in figures.items()
            for name, each in of.items()
            if each["queries"] > MOST_QUERIES or each["milliseconds"] > MOST_MILLISECONDS
        ],
        "lists": figures,
    }


def _ask(client: Client, address: str) -> dict[str, Any]:
    from tests.query_plans import statements

    took = []
    for _ in range(_TIMES):
        with statements() as asked:
            began = time.perf_counter()
            answer = client.get(address, secure=True, headers={"host": "localhost:1"})
            took.append(time.perf_counter() - began)
        if answer.status_code != 200:
            raise RuntimeError(f"{address} answered {answer.status_code}.")
    return {"queries": len(asked), "milliseconds": round(statistics.median(took) * 1000, 1)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--friendships", type=int, default=1_000_000)
    parser.add_argument("--postgresql", action="store_true", help="instead of SQLite")
    parser.add_argument("--folder", help="where the database is")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
