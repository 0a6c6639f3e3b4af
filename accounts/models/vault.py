"""A person's keys, encrypted by their browser and sealed once more: a stolen database is no oracle for passwords."""

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


class Vault(models.Model):
    """``version`` counts from 1; a new box replaces the one before it and no other."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True)
    version = models.PositiveBigIntegerField()
    sealed_box = models.BinaryField()

    class Meta(TypedModelMeta):
        constraints = [
            models.CheckConstraint(condition=Q(version__gte=1), name="vault_version_counts_from_1"),
        ]

    def __str__(self) -> str:
        return f"Vault of {self.user_id}"

    @staticmethod
    def purpose(user_id: int) -> str:
        return f"accounts.vault/{user_id}"

    @property
    def box(self) -> bytes:
        return sealed.unseal(bytes(self.sealed_box), purpose=self.purpose(self.user_id))


class Door(models.Model):
    """One way to the vault: its key and the identity, sealed to what a password or the recovery code derives."""

    class Kind(models.TextChoices):
        PASSWORD = "password", "Password"
        RECOVERY = "recovery", "Recovery code"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="doors")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    sealed_content = models.BinaryField()

    class Meta(TypedModelMeta):
        constraints = [
            models.UniqueConstraint(fields=["user", "kind"], name="door_one_of_a_kind"),
            models.CheckConstraint(condition=Q(kind__in=["password", "recovery"]), name="door_kind_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} door of {self.user_id}"

    @staticmethod
    def purpose(user_id: int, kind: str) -> str:
        return f"accounts.door/{user_id}/{kind}"

    @property
    def content(self) -> bytes:
        return sealed.unseal(bytes(self.sealed_content), purpose=self.purpose(self.user_id, self.kind))


class RecoveryCode(models.Model):
    """SHA-256 of what proves the code; every use and every renewal brings another one."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="recovery_code"
    )
    proof_hash = models.BinaryField(max_length=32)
    confirmed = models.BooleanField(default=False, help_text="The person has typed it back.")
    made_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"Recovery code of {self.user_id}"
