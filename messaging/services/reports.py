"""Reporting somebody, and what operators do about it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction

from accounts.chain import ChainState
from accounts.errors import SanctionRefused
from accounts.models import Sanction, User
from accounts.services import key_chain, sanctions
from messaging import franking
from messaging.errors import ReportedPersonGone, ReportTooLarge
from messaging.franking import Content, NotProved, Problem
from messaging.models import (
    Envelope,
    Evidence,
    InvalidReportTransition,
    Report,
    ReportedMessage,
    ReportedRow,
)
from messaging.services.conversations import Membership, membership_of, peer_in
from messaging.wire import parse_envelope
from securechat import audit, ratelimit


@dataclass(frozen=True)
class Disclosed:
    """What the reporter's browser opened for the operators: one message of the other side, by its number."""

    n: int
    content: bytes
    franking_key: bytes


@dataclass(frozen=True)
class CheckedMessage:
    """One message of a report as it is checked now. ``content`` is what was disclosed, proved or not."""

    row: ReportedRow
    problem: Problem | None
    content: Content | None


@dataclass(frozen=True)
class CheckedReport:
    report: Report
    evidence: Evidence
    messages: tuple[CheckedMessage, ...]

    @property
    def holds(self) -> bool:
        return bool(self.messages) and all(message.problem is None for message in self.messages)


def make_report(
    *, by: User, conversation: UUID, category: Report.Category, note: str, disclosed: Sequence[Disclosed]
) -> Report:
    """Stores what was disclosed with the server's own rows and what the check of each says; nothing else is disclosed.

    Raises ``ConversationNotFound``, ``ReportedPersonGone``, ``ReportTooLarge`` or ``TooFast``.
    """
    membership = membership_of(by, conversation)
    reported = peer_in(membership)
    if reported is None:
        raise ReportedPersonGone
    if sum(len(one.content) for one in disclosed) > settings.MAX_REPORT_EVIDENCE_BYTES:
        raise ReportTooLarge
    ratelimit.check(
        "messaging.reports.user", str(by.pk), limit=settings.REPORTS_PER_DAY, window=timedelta(days=1)
    )
    rows = _rows(membership, disclosed)
    evidence = Evidence(
        reporter_id=by.pk,
        reporter_name=by.username,
        conversation=conversation,
        note=note,
        origin=settings.PUBLIC_ORIGIN,
        name=reported.folded_name,
        chain=_chain_that_signed(reported, rows),
    )
    return _store(reported, category, evidence, _checked(evidence, rows))


def check_report(report: Report) -> CheckedReport:
    """Computes everything again from what is sealed in the report. Raises ``SealBroken``."""
    evidence = report.evidence()
    rows = [message.row() for message in report.messages.all()]
    return CheckedReport(report, evidence, tuple(_checked(evidence, rows)))


@transaction.atomic
def open_evidence(*, report_id: int, by: User, source: str = "") -> CheckedReport:
    """For a moderator to read; each time is one audit event. Raises ``Report.DoesNotExist`` or ``SealBroken``."""
    report = Report.objects.get(pk=report_id)
    checked = check_report(report)
    audit.record("evidence.open", by=by, on=f"report:{report.pk}", source=source)
    return checked


def claim_reports(*, ids: Collection[int], by: User, source: str = "") -> list[Report]:
    """Those that nobody else has claimed; the others are left as they are, as in all of these."""
    return _move("report.claim", ids, by, "", source, lambda report: report.claim(by))


def release_reports(*, ids: Collection[int], by: User, reason: str, source: str = "") -> list[Report]:
    return _move("report.release", ids, by, reason, source, lambda report: report.release())


def dismiss_reports(*, ids: Collection[int], by: User, reason: str, source: str = "") -> list[Report]:
    return _move("report.dismiss", ids, by, reason, source, lambda report: report.dismiss(by))


def resolve_reports(*, ids: Collection[int], by: User, reason: str, source: str = "") -> list[Report]:
    return _move("report.resolve", ids, by, reason, source, lambda report: report.resolve(by))


@transaction.atomic
def sanction_reported(
    *, report: Report, kind: Sanction.Kind, reason: str, ends_at: datetime | None, by: User, source: str = ""
) -> Sanction:
    """The reported person is sanctioned and the report resolved, or neither. Raises ``SanctionRefused``."""
    if report.reported is None or report.reported.is_deleted:
        raise SanctionRefused(f"The account that report {report.pk} is about was deleted.")
    sanction = sanctions.impose(
        user=report.reported,
        kind=kind,
        reason=reason,
        ends_at=ends_at,
        by=by,
        source=source,
        report=report.pk,
    )
    if not resolve_reports(ids=[report.pk], by=by, reason=f"{kind.label}: {reason}", source=source):
        raise SanctionRefused(f"Report {report.pk} is closed already.")
    return sanction


@transaction.atomic
def _move(
    action: str, ids: Collection[int], by: User, reason: str, source: str, move: Callable[[Report], None]
) -> list[Report]:
    moved = []
    for report in Report.objects.select_for_update().filter(pk__in=ids).order_by("made_at", "pk"):
        before = report.status
        try:
            move(report)
        except InvalidReportTransition:
            continue
        report.save(update_fields=["status", "assignee", "closed_at"])
        audit.record(
            action,
            by=by,
            on=f"report:{report.pk}",
            why=reason,
            source=source,
            before={"status": before},
            after={"status": report.status},
        )
        moved.append(report)
    return moved


def _rows(membership: Membership, disclosed: Sequence[Disclosed]) -> list[ReportedRow]:
    """Of the other side alone: one's own messages prove nothing about anybody else."""
    stored = {
        row.n: row
        for row in Envelope.objects.filter(
            conversation=membership.conversation,
            side=1 - membership.side,
            n__in=[one.n for one in disclosed],
        )
    }
    return [_row(one, stored.get(one.n)) for one in sorted(disclosed, key=lambda one: one.n)]


def _row(one: Disclosed, stored: Envelope | None) -> ReportedRow:
    envelope: bytes | None = None
    stored_at: datetime | None = None
    if stored is not None:
        envelope, stored_at = bytes(stored.envelope), stored.stored_at
    return ReportedRow(one.n, one.content, one.franking_key, envelope, stored_at)


def _chain_that_signed(reported: User, rows: Sequence[ReportedRow]) -> tuple[bytes, ...]:
    """As much of the person's key chain as the proof of these messages needs."""
    entries = key_chain.entries_of(reported)
    try:
        devices = franking.chain_of(settings.PUBLIC_ORIGIN, reported.folded_name, entries).devices
    except NotProved:
        return ()
    signers = {parse_envelope(row.envelope).device for row in rows if row.envelope is not None}
    last = max((devices[signer].added_seq for signer in signers if signer in devices), default=0)
    return tuple(entries[:last])


def _checked(evidence: Evidence, rows: Sequence[ReportedRow]) -> list[CheckedMessage]:
    try:
        keys = franking.chain_of(evidence.origin, evidence.name, evidence.chain)
    except NotProved:
        keys = None
    return [_checked_row(evidence, row, keys) for row in rows]


def _checked_row(evidence: Evidence, row: ReportedRow, keys: ChainState | None) -> CheckedMessage:
    try:
        shown: Content | None = franking.read_content(row.content)
    except NotProved:
        shown = None
    try:
        if row.envelope is None:
            raise NotProved(Problem.NO_ROW)
        if keys is None:
            raise NotProved(Problem.NO_KEYS)
        franking.require_sent(
            row.envelope,
            conversation=evidence.conversation,
            content=row.content,
            franking_key=row.franking_key,
            keys=keys,
        )
    except NotProved as failure:
        return CheckedMessage(row, failure.problem, shown)
    return CheckedMessage(row, None, shown)


@transaction.atomic
def _store(
    reported: User, category: Report.Category, evidence: Evidence, checked: Sequence[CheckedMessage]
) -> Report:
    report = Report(
        reported=reported,
        reported_name=reported.username,
        category=category,
        message_count=len(checked),
        verified_count=sum(message.problem is None for message in checked),
    )
    report.seal(evidence)
    report.save()
    ReportedMessage.objects.bulk_create(
        ReportedMessage.sealing(report, position, message.row, message.problem or "")
        for position, message in enumerate(checked, start=1)
    )
    return report
