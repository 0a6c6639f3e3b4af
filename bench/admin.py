"""What the admin's pages cost where there are a hundred thousand people and a million friendships.

python -m bench.admin [--people 100000] [--friends 20] [--keep FOLDER]

Each list is opened as an operator does: plain, on its last page, searched, by each of its filters, and in the order of each of
its columns; and the page of a person. With ``--keep`` the rows are made once, and used again the next time. PostgreSQL is
measured with DATABASE_URL set to an empty database.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

MOST_QUERIES, MOST_MILLISECONDS = 20, 300
_ROUNDS = 3
_PEOPLE, _FRIENDS = 100_000, 20
_REPORTS, _SANCTIONS, _EVENTS = 20_000, 20_000, 100_000
_ROOT = "Benchroot1"


def main() -> None:
    arguments = _arguments()
    with ExitStack() as stack:
        folder = arguments.keep or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="securechat-bench-"))
        )
        _prepare(folder)
        import django

        django.setup()
        from bench.results import record

        figures = measure(arguments)
        record("admin", figures, command="python -m bench.admin " + " ".join(sys.argv[1:]))


def _prepare(folder: Path) -> None:
    (folder / "var").mkdir(parents=True, exist_ok=True)
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "securechat.settings",
        "ENV_FILE": "/nonexistent",
        "SECRET_KEY": "only-for-measurements-0123456789-abcdefghijklmnopqrstuvwxyz",
        "VAR_DIR": str(folder / "var"),
        "CERTS_DIR": str(folder / "certs"),
        "STATIC_ROOT": str(folder / "static"),
    }
    for command in (
        ["init_keys"],
        ["certs", "init"],
        ["migrate", "--verbosity", "0"],
        ["collectstatic", "--noinput", "--verbosity", "0"],
    ):
        if command[0] != "init_keys" or not (folder / "certs" / "keys.json").exists():
            subprocess.run([sys.executable, "manage.py", *command], check=True, stdout=subprocess.DEVNULL)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    from django.db import connection

    from accounts.models import User

    if not User.objects.filter(username=_ROOT).exists():
        make_rows(arguments.people, arguments.friends)
    client = _operator()
    pages = dict(_pages())
    found = {name: _cost(client, address) for name, address in pages.items()}
    slow = {name: cost for name, cost in found.items() if cost["milliseconds"] > MOST_MILLISECONDS}
    many = {name: cost for name, cost in found.items() if cost["queries"] > MOST_QUERIES}
    worst = max(found, key=lambda name: found[name]["milliseconds"])
    for name, cost in sorted(found.items(), key=lambda one: -one[1]["milliseconds"])[:15]:
        print(f"{cost['milliseconds']:7.1f} ms {cost['queries']:3} queries  {name}", file=sys.stderr)
    return {
        "people": arguments.people,
        "friendships": arguments.people * arguments.friends // 2,
        "database": connection.vendor,
        "pages": len(found),
        "slowest": {"page": worst, **found[worst]},
        "most_queries": max(cost["queries"] for cost in found.values()),
        "median_milliseconds": round(statistics.median(cost["milliseconds"] for cost in found.values()), 1),
        "over_300_milliseconds": slow,
        "over_20_queries": many,
        "lists": {name: cost for name, cost in found.items() if name.count(" ") == 0},
    }


def make_rows(people: int, friends: int) -> None:
    from bench.crowd import befriend, circle, make_cookies, make_people

    users = make_people(people)
    befriend(circle(users, friends))
    make_cookies(users[: people // 2])
    _make_reports(users)
    _make_sanctions(users)
    _make_events(users)
    from accounts.models import User

    User.objects.create_superuser(_ROOT, None)


def _make_reports(users: Any) -> None:
    from uuid import UUID

    from messaging.models import Evidence, Report

    rows = []
    for number, user in enumerate(users[:_REPORTS]):
        report = Report(reported=user, reported_name=user.username, category=Report.Category.SPAM)
        if number % 10:
            report.status, report.closed_at = Report.Status.DISMISSED, user.date_joined
        report.seal(Evidence(users[number - 1].pk, "x", UUID(int=number), "", "https://x", "x", ()))
        rows.append(report)
    Report.objects.bulk_create(rows, batch_size=500)


def _make_sanctions(users: Any) -> None:
    from accounts.models import Sanction

    Sanction.objects.bulk_create(
        [
            Sanction(user=user, kind=Sanction.Kind.WARNING, reason="Advertising.", starts_at=user.date_joined)
            for user in users[:_SANCTIONS]
        ],
        batch_size=500,
    )


def _make_events(users: Any) -> None:
    from django.db import transaction

    from securechat import audit

    with transaction.atomic():
        for number in range(_EVENTS):
            audit.record(
                "user.warn", by=None, on=f"user:{users[number % len(users)].pk}", source="command:sanction"
            )


def _operator() -> Any:
    from django.conf import settings
    from django.test import Client

    from accounts.models import User

    settings.ADMIN_SECOND_FACTOR = False
    settings.ALLOWED_HOSTS = ["*"]
    client = Client(headers={"host": settings.PUBLIC_ORIGIN.partition("//")[2]})
    client.force_login(User.objects.get(username=_ROOT))
    return client


def _pages() -> Iterator[tuple[str, str]]:
    """The name of what is opened, and its address."""
    from django.contrib import admin
    from django.test import RequestFactory
    from django.urls import reverse

    from accounts.models import User
    from friends.models import Friendship

    root = User.objects.get(username=_ROOT)
    somebody = User.objects.exclude(pk=root.pk).order_by("pk")[500]
    yield "front", reverse("admin:index")
    for model, model_admin in admin.site._registry.items():
        name = f"{model._meta.app_label}.{model._meta.model_name}"
        address = reverse(f"admin:{name.replace('.', '_')}_changelist")
        request = RequestFactory().get(address)
        request.user = root
        yield name, address
        if model_admin.get_search_fields(request):
            searched = somebody.username if model in (User, Friendship) else "user.warn"
            yield f"{name} searched", f"{address}?q={searched}"
            yield f"{name} searched in vain", f"{address}?q=nothing"
        changelist = model_admin.get_changelist_instance(request)
        yield f"{name} last page", f"{address}?p={changelist.paginator.num_pages}"
        for filter_ in changelist.filter_specs:
            for choice in filter_.choices(changelist):
                if query := choice.get("query_string", "?").lstrip("?"):
                    yield f"{name} filter {query}", f"{address}?{query}"
        for column in range(1, len(model_admin.get_list_display(request)) + 1):
            yield f"{name} order {column}", f"{address}?o={column}"
            yield f"{name} order -{column}", f"{address}?o=-{column}"
    yield "person", reverse("admin:accounts_user_change", args=[somebody.pk])
    friendship = Friendship.objects.order_by("pk")[500]
    yield "friendship", reverse("admin:friends_friendship_change", args=[friendship.pk])


def _cost(client: Any, address: str) -> dict[str, Any]:
    """The median of some rounds after one that does not count."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client.get(address)
    took, queries = [], 0
    for _ in range(_ROUNDS):
        with CaptureQueriesContext(connection) as captured:
            began = time.perf_counter()
            response = client.get(address)
            took.append(time.perf_counter() - began)
        if response.status_code != 200:
            raise SystemExit(f"{address} answers {response.status_code}.")
        queries = len(captured)
    return {"milliseconds": round(statistics.median(took) * 1000, 1), "queries": queries}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, default=_PEOPLE)
    parser.add_argument("--friends", type=int, default=_FRIENDS, help="of each; an even number")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="make the rows there, once")
    return parser.parse_args()


if __name__ == "__main__":
    main()
