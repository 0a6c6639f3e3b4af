"""What one person showed the operators of another: chosen messages with their proof, and where the report stands.

Who reported, and in which conversation, is sealed: a stolen database must not show who talks to whom.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.models import User
from accounts.wire import decode_base64url, encode_base64url
from securechat import sealed

if TYPE_CHECKING:
    from django_stubs_ext.db.models import TypedModelMeta
else:
    TypedModelMeta = object

_INDEX_BYTES = 32


class InvalidReportTransition(Exception):
    """The report has been claimed, released or closed by somebody else meanwhile."""


def reporter_index(user_id: int) -> bytes:
    return sealed.blind_index("report/reporter", user_id)


@dataclass(frozen=True)
class Evidence:
    """What is sealed of a report: who reported, and what a proof needs besides the messages.

    ``chain`` are the entries of the reported person's key chain, from genesis to the last browser that signed here.
    """

    reporter_id: int
    reporter_name: str
    conversation: UUID
    note: str
    origin: str
    name: str
    chain: tuple[bytes, ...]

    def encode(self) -> bytes:
        return _json(
            {
                "reporter": [self.reporter_id, self.reporter_name],
                "conversation": str(self.conversation),
                "note": self.note,
                "origin": self.origin,
                "name": self.name,
                "chain": [encode_base64url(entry) for entry in self.chain],
            }
        )

    @classmethod
    def decode(cls, raw: bytes) -> Evidence:
        stored = json.loads(raw)
        reporter_id, reporter_name = stored["reporter"]
        return cls(
            reporter_id=reporter_id,
            reporter_name=reporter_name,
            conversation=UUID(stored["conversation"]),
            note=stored["note"],
            origin=stored["origin"],
            name=stored["name"],
            chain=tuple(decode_base64url(entry) for entry in stored["chain"]),
        )


@dataclass(frozen=True)
class ReportedRow:
    """A message as it was disclosed, and the server's row of it, if there was one: then it was stored at that time."""

    n: int
    content: bytes
    franking_key: bytes
    envelope: bytes | None
    stored_at: datetime | None

    def encode(self) -> bytes:
        return _json(
            {
                "n": self.n,
                "content": encode_base64url(self.content),
                "franking_key": encode_base64url(self.franking_key),
                "envelope": None if self.envelope is None else encode_base64url(self.envelope),
                "stored_at": None if self.stored_at is None else self.stored_at.isoformat(),
            }
        )

    @classmethod
    def decode(cls, raw: bytes) -> ReportedRow:
        stored = json.loads(raw)
        envelope, stored_at = stored["envelope"], stored["stored_at"]
        return cls(
            n=stored["n"],
            content=decode_base64url(stored["content"]),
            franking_key=decode_base64url(stored["franking_key"]),
            envelope=None if envelope is None else decode_base64url(envelope),
            stored_at=None if stored_at is None else datetime.fromisoformat(stored_at),
        )


class ReportQuerySet(models.QuerySet["Report"]):
    def made_by(self, user: User) -> ReportQuerySet:
        """The only way to reports from their reporter's requests."""
        return self.filter(reporter_index__in=sealed.blind_indexes("report/reporter", user.pk))

    def waiting(self) -> ReportQuerySet:
        return self.filter(status__in=Report.WAITING)

    def overdue(self, now: datetime | None = None) -> ReportQuerySet:
        return self.waiting().filter(made_at__lt=(now or timezone.now()) - settings.REPORT_OVERDUE)

    def verified(self) -> ReportQuerySet:
        """All that was disclosed is proved, and that is at least one message."""
        return self.filter(message_count__gte=1, verified_count=F("message_count"))


class Report(models.Model):
    class Category(models.TextChoices):
        SPAM = "spam", "Spam or fraud"
        HARASSMENT = "harassment", "Harassment or insults"
        THREAT = "threat", "Threats or violence"
        SEXUAL = "sexual", "Unwanted sexual content"
        IMPERSONATION = "impersonation", "Pretending to be somebody else"
        OTHER = "other", "Something else"

    class Status(models.TextChoices):
        OPEN = "open", "Open"
        CLAIMED = "claimed", "Being looked at"
        DISMISSED = "dismissed", "Dismissed"
        RESOLVED = "resolved", "Resolved"

    WAITING = (Status.OPEN, Status.CLAIMED)
    NEXT_STATUSES: Mapping[str, frozenset[str]] = {
        Status.OPEN: frozenset({Status.CLAIMED, Status.DISMISSED, Status.RESOLVED}),
        Status.CLAIMED: frozenset({Status.OPEN, Status.DISMISSED, Status.RESOLVED}),
        Status.DISMISSED: frozenset(),
        Status.RESOLVED: frozenset(),
    }

    public_id = models.UUIDField(default=uuid4, unique=True, editable=False)
    reported = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="reports"
    )
    reported_name = models.CharField(max_length=30)
    category = models.CharField(max_length=20, choices=Category.choices)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN, editable=False)
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    made_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True, blank=True)
    message_count = models.PositiveSmallIntegerField(default=0)
    verified_count = models.PositiveSmallIntegerField(default=0)
    reporter_index = models.BinaryField(max_length=_INDEX_BYTES, db_index=True)
    sealed_evidence = models.BinaryField()

    objects = ReportQuerySet.as_manager()

    class Meta(TypedModelMeta):
        permissions = [
            ("view_evidence", "Can open the evidence of a report"),
            ("resolve_report", "Can claim, dismiss and resolve reports"),
        ]
        indexes = [models.Index(fields=["status", "made_at"], name="report_by_status_and_age")]
        constraints = [
            models.CheckConstraint(
                condition=Q(verified_count__lte=F("message_count")), name="report_verifies_what_it_has"
            ),
            models.CheckConstraint(
                condition=Q(status__in=("open", "claimed"), closed_at=None)
                | Q(status__in=("dismissed", "resolved"), closed_at__isnull=False),
                name="report_closed_at_when_closed",
            ),
        ]

    def __str__(self) -> str:
        return f"Report {self.pk} on {self.reported_name}"

    @property
    def is_verified(self) -> bool | None:
        """None where no message was disclosed, so that there is nothing to prove."""
        return self.verified_count == self.message_count if self.message_count else None

    @property
    def seal_purpose(self) -> str:
        return f"report-evidence/{self.public_id}"

    def seal(self, evidence: Evidence) -> None:
        self.reporter_index = reporter_index(evidence.reporter_id)
        self.sealed_evidence = sealed.seal(evidence.encode(), purpose=self.seal_purpose)

    def evidence(self) -> Evidence:
        """Raises ``SealBroken``."""
        return Evidence.decode(sealed.unseal(bytes(self.sealed_evidence), purpose=self.seal_purpose))

    def claim(self, by: User) -> None:
        self._move_to(self.Status.CLAIMED)
        self.assignee = by

    def release(self) -> None:
        self._move_to(self.Status.OPEN)
        self.assignee = None

    def dismiss(self, by: User, now: datetime | None = None) -> None:
        self._close(self.Status.DISMISSED, by, now)

    def resolve(self, by: User, now: datetime | None = None) -> None:
        self._close(self.Status.RESOLVED, by, now)

    def _close(self, status: Status, by: User, now: datetime | None) -> None:
        self._move_to(status)
        self.assignee = self.assignee or by
        self.closed_at = now or timezone.now()

    def _move_to(self, status: Status) -> None:
        if status not in self.NEXT_STATUSES[self.status]:
            raise InvalidReportTransition
        self.status = status


class ReportedMessage(models.Model):
    """One disclosed message. ``problem`` is empty where it is proved (``messaging.franking.Problem``)."""

    report = models.ForeignKey(Report, on_delete=models.CASCADE, related_name="messages")
    position = models.PositiveSmallIntegerField()
    problem = models.CharField(max_length=20, blank=True)
    sealed_row = models.BinaryField()

    class Meta(TypedModelMeta):
        ordering = ("report", "position")
        constraints = [
            models.UniqueConstraint(fields=["report", "position"], name="reported_message_one_per_position"),
        ]

    def __str__(self) -> str:
        return f"Message {self.position} of report {self.report_id}"

    @classmethod
    def sealing(cls, report: Report, position: int, row: ReportedRow, problem: str) -> ReportedMessage:
        message = cls(report=report, position=position, problem=problem)
        message.sealed_row = sealed.seal(row.encode(), purpose=message.seal_purpose)
        return message

    @property
    def seal_purpose(self) -> str:
        return f"reported-message/{self.report_id}/{self.position}"

    def row(self) -> ReportedRow:
        """Raises ``SealBroken``."""
        return ReportedRow.decode(sealed.unseal(bytes(self.sealed_row), purpose=self.seal_purpose))


def _json(stored: Mapping[str, Any] | Iterable[Any]) -> bytes:
    return json.dumps(stored, separators=(",", ":")).encode()
