"""`manage.py presence`: who is online, as the server's processes say."""

from __future__ import annotations

import json
import sys
from typing import Any

import redis
from django.core.management.base import CommandParser

from accounts.management.people import person_named
from accounts.models import User
from messaging import presence
from securechat.management.explained import ExplainedCommand

UNKNOWN = 3
EXAMPLES = """
examples:
  manage.py presence                 how many people are online, on how many sockets
  manage.py presence --user Alice    whether she is
  manage.py presence --list          their names, in the order of the alphabet
  manage.py presence --json          for programs

It is what friends are shown: somebody who just closed a tab counts for the grace of PRESENCE_GRACE_MILLISECONDS.

exit codes: 0 said; 1 there is nobody of that name; 3 unknown, as Redis does not answer.
"""


class Command(ExplainedCommand):
    help = "Says how many people are online, or whether one is. Changes nothing."
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--user", metavar="NAME", help="whether this person is online")
        which.add_argument("--list", action="store_true", help="the names, too")
        parser.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["user"] is not None:
                found = self._of(options["user"])
            else:
                found = self._all(with_names=options["list"])
        except redis.RedisError:
            self.stderr.write(
                "Unknown: Redis does not answer (or the server, whose own Valkey it is, does not run)."
            )
            sys.exit(UNKNOWN)
        if options["json"]:
            self.stdout.write(json.dumps(found))
        else:
            self._say(found)

    def _of(self, name: str) -> dict[str, Any]:
        user = person_named(name)
        online = presence.is_online([user.pk])[user.pk]
        if online is None:
            raise redis.RedisError
        return {"name": user.username, "online": online}

    def _all(self, *, with_names: bool) -> dict[str, Any]:
        crowd = presence.everybody()
        found: dict[str, Any] = {"people": len(crowd), "sockets": sum(crowd.values())}
        if with_names:
            rows = User.objects.in_bulk(list(crowd)).values()
            found["names"] = sorted((user.username for user in rows), key=str.lower)
        return found

    def _say(self, found: dict[str, Any]) -> None:
        if "online" in found:
            self.stdout.write(f"{found['name']} is {'online' if found['online'] else 'offline'}.")
            return
        people, sockets = found["people"], found["sockets"]
        self.stdout.write(
            f"{people:,} {'person' if people == 1 else 'people'} online, on {sockets:,} {'socket' if sockets == 1 else 'sockets'}."
        )
        for name in found.get("names", ()):
            self.stdout.write(f"  {name}")
