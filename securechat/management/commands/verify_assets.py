"""`manage.py verify_assets`: is what runs in people's browsers the client that was built?"""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from securechat import asset_check, assets, builds, certificates
from securechat.asset_check import Difference, Server, ServerUnreachable
from securechat.assets import Build, BuildMissing
from securechat.management.explained import ExplainedCommand

DIFFERENT, NOT_CHECKED = 1, 2
EXAMPLES = """
examples:
  manage.py verify_assets                                   the disk, and the server at PUBLIC_ORIGIN
  manage.py verify_assets --disk-only                       the disk, without asking any server
  manage.py verify_assets --url https://chat.example        a server elsewhere, against the client built here
  manage.py verify_assets --print-fingerprint               the fingerprint of the client built here, no more
  manage.py verify_assets --expect 5f1c…                    and is it the one that was published?
  manage.py verify_assets --json                            for programs

Of a server every file is fetched under each of its addresses and in each compression, and the pages that strangers can
open: they must load nothing else, and say the right hashes. The server's certificate is checked against the roots of this computer and
the one in CERTS_DIR (or --root).

exit codes: 0 everything matches; 1 something differs, named line by line; 2 it could not be checked.
"""


class Command(ExplainedCommand):
    help = "Compares the client's files, on the disk and as a running server answers, with the manifest of the build."
    requires_system_checks = []
    examples = EXAMPLES

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", metavar="ORIGIN", help="the server to ask; default: PUBLIC_ORIGIN")
        parser.add_argument(
            "--root", type=Path, metavar="FILE", help="a root certificate to trust, too, in PEM"
        )
        parser.add_argument("--disk-only", action="store_true", help="ask no server")
        parser.add_argument("--expect", metavar="FINGERPRINT", help="the published one, all 64 digits")
        parser.add_argument("--print-fingerprint", action="store_true", help="print it and check nothing")
        parser.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        manifest = assets.source_manifest() or assets.collected_manifest()
        try:
            build = assets.read_build(manifest)
        except BuildMissing as problem:
            raise CommandError(str(problem), returncode=NOT_CHECKED) from None
        expected = _fingerprint(options["expect"]) if options["expect"] else None
        if options["print_fingerprint"]:
            self.stdout.write(build.fingerprint)
            return
        differences = list(asset_check.check_disk(build, manifest))
        if expected not in (None, build.fingerprint):
            differences.insert(
                0, Difference(str(manifest), f"is of build {build.fingerprint}, not {expected}")
            )
        origin = None if options["disk_only"] else options["url"] or settings.PUBLIC_ORIGIN
        if origin:
            differences += _ask_server(build, manifest, origin, options["root"])
        self._report(build, differences, origin, as_json=options["json"])
        if differences:
            count = len(differences)
            raise CommandError(
                f"{count} {'thing differs' if count == 1 else 'things differ'}.", returncode=DIFFERENT
            )

    def _report(
        self, build: Build, differences: list[Difference], origin: str | None, *, as_json: bool
    ) -> None:
        published = builds.published_fingerprint(build.version)
        if as_json:
            report = {
                "version": build.version,
                "fingerprint": build.fingerprint,
                "published_fingerprint": published,
                "files": len(build.files),
                "server": origin,
                "matches": not differences,
                "differences": [{"place": each.place, "problem": each.problem} for each in differences],
            }
            self.stdout.write(json.dumps(report, indent=1))
            return
        self.stdout.write(f"Build        {build.version}, {len(build.files)} files")
        self.stdout.write(f"Fingerprint  {build.fingerprint}")
        self.stdout.write(f"Published    {published or f'none for {build.version} in docs/builds.md'}")
        self.stdout.write(f"Server       {origin or 'not asked'}")
        for difference in differences:
            self.stdout.write(f"\n{difference.place}\n  {difference.problem}")
        if not differences:
            self.stdout.write("Everything matches the manifest.")


def _ask_server(build: Build, manifest: Path, origin: str, root: Path | None) -> list[Difference]:
    try:
        server = Server(origin, root or certificates.root_file())
        try:
            return list(asset_check.check_server(build, manifest, server))
        finally:
            server.close()
    except ServerUnreachable as problem:
        raise CommandError(str(problem), returncode=NOT_CHECKED) from None


def _fingerprint(text: str) -> str:
    """As people copy it: case, spaces, colons and dashes do not matter."""
    digits = re.sub(r"[\s:-]", "", text).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise CommandError(
            "--expect takes the whole fingerprint, 64 hexadecimal digits; the short form can be forged.",
            returncode=NOT_CHECKED,
        )
    return digits
