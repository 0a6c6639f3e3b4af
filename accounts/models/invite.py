"""An invitation to sign up, where that needs one. Only the code's hash is kept: who reads the table can invite nobody."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

if TYPE_CHECKING:
    from django_stubs_ext.db.models import TypedModelMeta
else:
    TypedModelMeta = object


class InviteQuerySet(models.QuerySet["Invite"]):
    def usable(self, now: datetime | None = None) -> InviteQuerySet:
        return self.filter(uses_left__gt=0, expires_at__gt=now or timezone.now(), revoked_at=None)


class Invite(models.Model):
    code_hash = models.BinaryField(max_length=32, unique=True, editable=False)
    note = models.CharField(max_length=200, blank=True, help_text="For whom; operators alone see it.")
    uses = models.PositiveIntegerField(help_text="How many accounts it was made for.")
    uses_left = models.PositiveIntegerField()
    made_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = InviteQuerySet.as_manager()

    class Meta(TypedModelMeta):
        constraints = [
            models.CheckConstraint(
                condition=Q(uses_left__lte=models.F("uses")), name="invite_has_no_more_uses"
            ),
        ]

    def __str__(self) -> str:
        return f"Invite {self.pk}"

    @property
    def status(self) -> str:
        if self.revoked_at is not None:
            return "revoked"
        if not self.uses_left:
            return "used up"
        return "usable" if self.expires_at > timezone.now() else "expired"
