"""Who a person's browsers are: a list that only grows, each entry signed by the person's identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from securechat import sealed

if TYPE_CHECKING:
    from django_stubs_ext.db.models import TypedModelMeta
else:
    TypedModelMeta = object


class KeyChainEntry(models.Model):
    """Sealed, as it names the person. Written by ``accounts.services.key_chain`` alone."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="key_chain")
    seq = models.PositiveIntegerField()
    sealed_entry = models.BinaryField()
    stored_at = models.DateTimeField(default=timezone.now)

    class Meta(TypedModelMeta):
        constraints = [
            models.UniqueConstraint(fields=["user", "seq"], name="key_chain_one_entry_per_seq"),
            models.CheckConstraint(condition=Q(seq__gte=1), name="key_chain_counts_from_1"),
        ]

    def __str__(self) -> str:
        return f"Key-chain entry {self.seq} of {self.user_id}"

    @staticmethod
    def purpose(user_id: int, seq: int) -> str:
        return f"accounts.key_chain/{user_id}/{seq}"

    @property
    def entry(self) -> bytes:
        return sealed.unseal(bytes(self.sealed_entry), purpose=self.purpose(self.user_id, self.seq))
