"""Signs that an account is attacked, or abuses others: how many on which day. No address, no time of day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models

if TYPE_CHECKING:
    from django_stubs_ext.db.models import TypedModelMeta
else:
    TypedModelMeta = object


class DailySignal(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="daily_signals")
    day = models.DateField()
    wrong_passwords = models.PositiveIntegerField(default=0)
    too_fast = models.PositiveIntegerField(default=0)

    class Meta(TypedModelMeta):
        constraints = [models.UniqueConstraint(fields=["user", "day"], name="daily_signal_one_per_day")]

    def __str__(self) -> str:
        return f"Signals of {self.user_id} on {self.day}"
