"""`manage.py demo_attack`: what a server that lies can do, and that the browser sees it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any, get_args
from uuid import UUID

from django.conf import settings
from django.core.management.base import CommandError

from messaging import demo_attacks
from messaging.demo_attacks import DemoAttackRefused, Kind
from securechat import audit
from securechat.management.explained import ExplainedCommand


class Command(ExplainedCommand):
    help = (
        "Attacks a conversation of the people that `make demo` makes, in the database, as whoever runs a server could.\n"
        "Leave the chat open in a browser: the alarm comes without a reload. One attack at a time; --undo repairs it.\n\n"
        "  flip-byte  changes one byte of the newest message\n"
        "  drop-row   deletes the newest message\n"
        "  swap-key   puts somebody else's keys in the place of a friend's\n\n"
        "It refuses to touch anybody but the people of the demo, who still have their published passwords. Run it\n"
        "with the settings of the server. What the undo needs is in demo-attack.json in VAR_DIR.\n\n"
        "examples:\n"
        "  manage.py demo_attack flip-byte --dry-run  what would be changed\n"
        "  manage.py demo_attack flip-byte            change it, and look at the open chat\n"
        "  manage.py demo_attack --undo               repair it, byte for byte\n"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("attack", nargs="?", choices=get_args(Kind))
        parser.add_argument(
            "--conversation", type=UUID, help="Its id, as in the chat's address (the demo's newest)."
        )
        parser.add_argument("--undo", action="store_true", help="Repair what the last attack changed.")
        parser.add_argument("--dry-run", action="store_true", help="Say what would be done; change nothing.")

    def handle(self, *args: Any, **options: Any) -> None:
        kind: Kind | None = options["attack"]
        try:
            if options["undo"]:
                self._undo(kind, dry_run=options["dry_run"])
            elif kind is None:
                raise CommandError(f"Name an attack ({', '.join(get_args(Kind))}), or --undo.")
            else:
                self._attack(kind, options["conversation"], dry_run=options["dry_run"])
        except DemoAttackRefused as refusal:
            raise CommandError(str(refusal)) from None

    def _attack(self, kind: Kind, conversation: UUID | None, *, dry_run: bool) -> None:
        done = demo_attacks.attack(kind, conversation, dry_run=dry_run)
        if not dry_run:
            on = f"conversation:{done.conversation}"
            audit.record("demo.attack", by=None, on=on, source="command:demo_attack", after={"kind": kind})
        self.stdout.write(f"{'Would change' if dry_run else 'Changed'}:  {done.did}")
        self.stdout.write(f"Look at:  {done.look_at}: {settings.PUBLIC_ORIGIN}/chat/{done.conversation}/")
        self.stdout.write(f"Alarm:    {done.alarm}. If nothing shows, reload the page.")
        self.stdout.write("Undo:     manage.py demo_attack --undo")

    def _undo(self, kind: Kind | None, *, dry_run: bool) -> None:
        undone = demo_attacks.undo(kind, dry_run=dry_run)
        if undone.changed and not dry_run:
            audit.record("demo.undo", by=None, source="command:demo_attack", after={"kind": undone.kind})
        if not undone.changed:
            self.stdout.write(
                f"{undone.kind} has changed nothing that is still there; nothing is left to undo."
            )
        elif dry_run:
            self.stdout.write(f"Would undo {undone.kind}.")
        else:
            self.stdout.write(self.style.SUCCESS(f"Undone: {undone.kind}. {undone.healed}"))
