"""`make chaos`: python -m bench.chaos [--database sqlite postgresql] [--messages 100000] [--seconds 3600] [--seed N]

With --url it torments the network to servers that run already, such as those of `make run-cluster`; where DATABASE_URL names
their PostgreSQL the checker also looks at what is stored.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "securechat.settings")
os.environ.setdefault("SECRET_KEY", "only-for-measurements")
os.environ["ENV_FILE"] = "/nonexistent"

from bench.chaos.lab import DATABASES, torment
from bench.chaos.run import Outcome, Plan, run
from bench.chaos.site import given_site
from bench.results import record

_SHOWN = 20
_GIVEN = "given"


def main() -> None:
    arguments = _arguments()
    print(f"seed {arguments.seed}", flush=True)
    figures: dict[str, Any] = {}
    failed = False
    for database in [_GIVEN] if arguments.url else arguments.database:
        print(f"\n{database}: {arguments.messages} messages", flush=True)
        plan = Plan(
            arguments.messages,
            arguments.seconds,
            arguments.seed,
            rounds=arguments.rounds,
            faults=arguments.faults,
        )
        with tempfile.TemporaryDirectory(prefix="chaos-", dir=arguments.folder) as folder:
            outcome = _torment(database, Path(folder), plan, arguments)
        figures[database] = outcome.figures
        for finding in outcome.findings[:_SHOWN]:
            print(f"{finding.kind}: {finding.what} ({finding.conversation})")
        failed = failed or bool(outcome.findings) or not outcome.figures["complete"]
    record(arguments.name, figures, command="python -m bench.chaos " + " ".join(sys.argv[1:]))
    sys.exit(1 if failed else 0)


def _torment(database: str, folder: Path, plan: Plan, arguments: argparse.Namespace) -> Outcome:
    if database != _GIVEN:
        return torment(database, folder, plan)
    urls: list[str] = arguments.url
    with given_site(
        folder,
        origin=arguments.origin or urls[0],
        ca_file=Path(arguments.ca),
        urls=urls,
        database_url=os.environ.get("DATABASE_URL", ""),
    ) as site:
        return run(site, plan, disk=None)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", nargs="+", default=DATABASES, choices=DATABASES)
    parser.add_argument("--messages", type=int, default=100_000, help="on each database")
    parser.add_argument("--seconds", type=float, default=3600, help="the limit of each run")
    parser.add_argument("--rounds", type=int, default=20, help="after each, everything has to arrive")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--faults", nargs="+", help="only those, by name")
    parser.add_argument("--folder", help="where the databases are made")
    parser.add_argument(
        "--url", nargs="+", help="of servers that run already, of which only the network is tormented"
    )
    parser.add_argument("--origin", help="their PUBLIC_ORIGIN; the first URL where it is left out")
    parser.add_argument("--ca", default="certs/root.crt", help="their root certificate")
    parser.add_argument("--name", default="chaos", help="of the file of results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
