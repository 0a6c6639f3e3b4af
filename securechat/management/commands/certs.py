"""`manage.py certs`: make, renew and show the server's certificates."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError

from securechat import audit, certificates
from securechat.certificates import CertificateProblem, CertificateSummary
from securechat.management.explained import ExplainedCommand

EXAMPLES = """
examples:
  manage.py certs init               make what is missing, renew what is due
  manage.py certs init --new-root    begin again; everybody has to trust the new root
  manage.py certs renew              a new server certificate from the same root
  manage.py certs show               names, fingerprints and dates
  manage.py certs show --json        the same for programs

CERTIFICATE_HOSTS lists the names and addresses. To use a certificate from elsewhere, set TLS_CERTIFICATE_FILE
(with its chain) and TLS_KEY_FILE. `manage.py serve` renews by itself CERTIFICATE_RENEW_DAYS before the end.
"""


class Command(ExplainedCommand):
    help = "Makes, renews and shows the server's own root certificate and the certificate it serves with."
    requires_system_checks = []
    examples = EXAMPLES

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("act", choices=["init", "renew", "show"])
        parser.add_argument("--new-root", action="store_true", help="init: replace the root, too")
        parser.add_argument("--json", action="store_true", help="show: as JSON")

    def handle(self, *args: Any, act: str, new_root: bool, **options: Any) -> None:
        try:
            if act == "init":
                made = certificates.init(new_root=new_root)
                if made:
                    _record("certificate.init")
                self._say("Made the certificates." if made else "The certificates are good.", options)
            elif act == "renew":
                certificates.renew()
                _record("certificate.renew")
                self._say("Made a new server certificate.", options)
            self._show(certificates.show(), as_json=options["json"])
        except CertificateProblem as problem:
            raise CommandError(str(problem)) from None

    def _say(self, sentence: str, options: dict[str, Any]) -> None:
        if not options["json"]:
            self.stdout.write(sentence)

    def _show(self, summaries: list[CertificateSummary], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(
                json.dumps({summary.role: _as_dict(summary) for summary in summaries}, indent=1)
            )
            return
        for summary in summaries:
            days = (summary.not_after - datetime.now(UTC)).days
            self.stdout.write(f"\n{summary.role.capitalize()} certificate  {summary.file}")
            self.stdout.write(f"  for          {', '.join(summary.hosts)}")
            self.stdout.write(f"  until        {summary.not_after:%Y-%m-%d} ({days} days)")
            self.stdout.write(f"  fingerprint  {summary.fingerprint}")


def _record(action: str) -> None:
    fingerprints = {summary.role: summary.fingerprint for summary in certificates.show()}
    audit.record_if_there_is_a_trail(action, command="certs", after=fingerprints)


def _as_dict(summary: CertificateSummary) -> dict[str, Any]:
    return {
        "file": str(summary.file),
        "hosts": list(summary.hosts),
        "fingerprint_sha256": summary.fingerprint,
        "not_before": summary.not_before.isoformat(),
        "not_after": summary.not_after.isoformat(),
    }
