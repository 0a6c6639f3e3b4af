"""What the server keeps of conversations: numbers, hashes, and bytes that it cannot read."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from friends.models import Friendship
from messaging.wire import first_log_hash
from securechat import sealed

Side = Literal[0, 1]
_HASH_BYTES = 32


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def visible_to(self, user: User) -> ConversationQuerySet:
        """The only way in from a request: conversations of friendships that were ever approved."""
        return self.filter(friendship__in=Friendship.objects.conversations_of(user))

    def make_missing(self, user: User) -> None:
        """Rows for friendships of ``user`` that have none yet. Any number of calls at once is fine."""
        missing = Friendship.objects.conversations_of(user).filter(conversation=None)
        self.bulk_create(
            [Conversation.of(friendship_id) for friendship_id in missing.values_list("public_id", flat=True)],
            ignore_conflicts=True,
        )


class Conversation(models.Model):
    """The messages of one friendship, under the friendship's ``public_id``; made when first needed."""

    friendship = models.OneToOneField(
        Friendship, to_field="public_id", primary_key=True, on_delete=models.CASCADE, db_column="id"
    )
    last_n = models.PositiveBigIntegerField(default=0)
    log_hash = models.BinaryField(max_length=_HASH_BYTES)
    epoch = models.PositiveIntegerField(default=0)
    active_at = models.DateTimeField(default=timezone.now)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["-active_at"], name="conversation_by_activity")]

    def __str__(self) -> str:
        return str(self.pk)

    @classmethod
    def of(cls, friendship_id: UUID) -> Conversation:
        """The unsaved, empty conversation of that friendship."""
        return cls(friendship_id=friendship_id, log_hash=first_log_hash(friendship_id))


class EpochRecord(models.Model):
    """Whose keys a run of messages is sealed for. It names people, so it is sealed once more at rest."""

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="epoch_records")
    number = models.PositiveIntegerField()
    sealed_record = models.BinaryField()
    stored_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["conversation", "number"], name="epoch_record_one_per_number"),
            models.CheckConstraint(condition=Q(number__gte=1), name="epoch_record_counts_from_one"),
        ]

    def __str__(self) -> str:
        return f"{self.conversation_id} epoch {self.number}"

    @classmethod
    def sealing(cls, conversation: Conversation, number: int, record: bytes) -> EpochRecord:
        row = cls(conversation=conversation, number=number)
        row.sealed_record = sealed.seal(record, purpose=row.seal_purpose)
        return row

    @property
    def seal_purpose(self) -> str:
        return f"epoch-record/{self.conversation_id}/{self.number}"

    def record(self) -> bytes:
        return sealed.unseal(bytes(self.sealed_record), purpose=self.seal_purpose)


class Envelope(models.Model):
    """One message as it was sent. Rows are only ever added, numbered without gaps by the writer."""

    # Without an index of its own: each of the three below begins with it.
    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="envelopes", db_index=False
    )
    n = models.PositiveBigIntegerField()
    side = models.PositiveSmallIntegerField()
    client_id = models.UUIDField()
    epoch = models.PositiveIntegerField()
    writer = models.BinaryField(max_length=16)
    writer_seq = models.PositiveBigIntegerField()
    envelope = models.BinaryField()
    envelope_hash = models.BinaryField(max_length=_HASH_BYTES)
    log_hash = models.BinaryField(max_length=_HASH_BYTES)
    stored_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["conversation", "n"], name="envelope_one_per_number"),
            models.UniqueConstraint(
                fields=["conversation", "side", "client_id"], name="envelope_one_per_client_id"
            ),
            models.UniqueConstraint(
                fields=["conversation", "writer", "writer_seq"], name="envelope_one_per_writer_position"
            ),
            models.CheckConstraint(condition=Q(side__in=(0, 1)), name="envelope_of_a_side"),
            models.CheckConstraint(
                condition=Q(n__gte=1, epoch__gte=1, writer_seq__gte=1), name="envelope_counts_from_one"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.n}"


class Head(models.Model):
    """How far one side's browsers have checked the log: the newest signed statement of each side."""

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="heads")
    side = models.PositiveSmallIntegerField()
    n = models.PositiveBigIntegerField()
    head = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["conversation", "side"], name="head_one_per_side"),
            models.CheckConstraint(condition=Q(side__in=(0, 1)), name="head_of_a_side"),
        ]

    def __str__(self) -> str:
        return f"{self.conversation_id} side {self.side} at {self.n}"
