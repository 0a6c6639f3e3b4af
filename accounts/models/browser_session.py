"""Where a person is logged in: one row for each session, for them to see and to end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import cbor2
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import models
from django.utils import timezone

from securechat import sealed

if TYPE_CHECKING:
    from django_stubs_ext.db.models import TypedModelMeta
else:
    TypedModelMeta = object


@dataclass(frozen=True)
class Details:
    """``name`` and ``address`` are what the server saw; ``device`` is ``None`` until the session is bound to one."""

    name: str
    address: str
    device: bytes | None = None


class BrowserSession(models.Model):
    """It goes with its session. The details are sealed: a stolen database must not say whose device signed a message."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="sessions")
    session = models.OneToOneField(Session, on_delete=models.CASCADE, related_name="browser")
    sealed_details = models.BinaryField()
    signed_in_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)

    class Meta(TypedModelMeta):
        indexes = [
            models.Index(fields=["user", "-seen_at"], name="browser_session_by_seen"),
            models.Index(fields=["-seen_at", "id"], name="browser_session_last_seen"),
        ]

    def __str__(self) -> str:
        return f"Session {self.pk} of {self.user_id}"

    @property
    def purpose(self) -> str:
        return f"accounts.browser_session/{self.user_id}/{self.pk}"

    @property
    def details(self) -> Details:
        name, address, device = cbor2.loads(self.encoded_details)
        return Details(name, address, device)

    @details.setter
    def details(self, details: Details) -> None:
        encoded = cbor2.dumps([details.name, details.address, details.device], canonical=True)
        self.sealed_details = sealed.seal(encoded, purpose=self.purpose)

    @property
    def encoded_details(self) -> bytes:
        return sealed.unseal(bytes(self.sealed_details), purpose=self.purpose)
