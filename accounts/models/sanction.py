"""What operators impose on people, and for how long. It is told to the person, with its reason and its end."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.formats import date_format

if TYPE_CHECKING:
    from django_stubs_ext.db.models import TypedModelMeta
else:
    TypedModelMeta = object


class SanctionQuerySet(models.QuerySet["Sanction"]):
    def in_force(self, now: datetime | None = None) -> SanctionQuerySet:
        """Neither over nor lifted nor waiting for a second operator; a warning until the person has read it."""
        now = now or timezone.now()
        return self.filter(
            Q(ends_at=None) | Q(ends_at__gt=now), lifted_at=None, acknowledged_at=None, needs_approval=False
        )

    def waiting(self) -> SanctionQuerySet:
        """For a second operator."""
        return self.filter(needs_approval=True, lifted_at=None)

    def shutting_out(self) -> SanctionQuerySet:
        return self.filter(kind__in=(Sanction.Kind.SUSPENSION, Sanction.Kind.BAN))


class Sanction(models.Model):
    """Rows are never removed while the account is there: what was lifted stays as what was lifted.

    ``report`` is the number of the report that it came from, where it came from one.
    """

    class Kind(models.TextChoices):
        WARNING = "warning", "Warning"
        MUTE = "mute", "Mute"
        SUSPENSION = "suspension", "Suspension"
        BAN = "ban", "Ban"

    TIMED = (Kind.MUTE, Kind.SUSPENSION)

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="sanctions")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    reason = models.TextField(max_length=500, help_text="The person reads it.")
    starts_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField(null=True, blank=True)
    imposed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    report = models.BigIntegerField(null=True, blank=True)
    needs_approval = models.BooleanField("waits for a second operator", default=False)
    acknowledged_at = models.DateTimeField("read at", null=True, blank=True)
    lifted_at = models.DateTimeField(null=True, blank=True)

    objects = SanctionQuerySet.as_manager()

    class Meta(TypedModelMeta):
        default_permissions = ("view",)
        permissions = [
            ("warn_user", "Can warn people"),
            ("mute_user", "Can mute people for a time"),
            ("suspend_user", "Can suspend people for a time"),
            ("ban_user", "Can ban people, and approve the bans of others"),
            ("lift_sanction", "Can lift sanctions"),
        ]
        indexes = [models.Index(fields=["user", "kind"], name="sanction_by_person")]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=("mute", "suspension"), ends_at__isnull=False)
                | Q(kind__in=("warning", "ban"), ends_at=None),
                name="sanction_ends_where_it_is_timed",
            ),
            models.CheckConstraint(
                condition=Q(ends_at=None) | Q(ends_at__gt=F("starts_at")),
                name="sanction_ends_after_it_starts",
            ),
            models.CheckConstraint(
                condition=Q(kind="warning") | Q(acknowledged_at=None), name="sanction_read_where_a_warning"
            ),
            models.CheckConstraint(
                condition=Q(kind="ban") | Q(needs_approval=False), name="sanction_approved_where_a_ban"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk} of {self.user_id}"

    def is_in_force(self, now: datetime | None = None) -> bool:
        """As ``in_force`` says it of rows."""
        is_over = self.ends_at is not None and self.ends_at <= (now or timezone.now())
        return not (is_over or self.lifted_at or self.acknowledged_at or self.needs_approval)

    @property
    def in_words(self) -> str:
        """For the person it is about. In UTC, as the server knows nobody's time zone."""
        until = "" if self.ends_at is None else f" until {date_format(self.ends_at, 'j F Y, H:i')} UTC"
        said = {
            self.Kind.WARNING: "The operators of this server warn you.",
            self.Kind.MUTE: f"You cannot send messages{until}.",
            self.Kind.SUSPENSION: f"This account is suspended{until}.",
            self.Kind.BAN: "This account is closed for good.",
        }[self.Kind(self.kind)]
        where = settings.APPEAL_ADDRESS
        appeal = f"write to {where}" if where else "ask who runs this server"
        return f"{said} The reason: {self.reason} If you think that is wrong, {appeal}."

    @property
    def status(self) -> str:
        if self.lifted_at:
            return "lifted"
        if self.needs_approval:
            return "waits for a second operator"
        if self.is_in_force():
            return "in force"
        return "read" if self.acknowledged_at else "over"
