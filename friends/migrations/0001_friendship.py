import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Friendship",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("public_id", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("friend_sealed", models.CharField(editable=False, max_length=200)),
                ("friend_index", models.BinaryField(db_index=True, max_length=32)),
                ("pair_index", models.BinaryField(max_length=32)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("default", "Waiting"),
                            ("approve", "Friends"),
                            ("reject", "Rejected"),
                            ("blocked", "Blocked"),
                            ("ended", "Ended"),
                        ],
                        default="default",
                        max_length=7,
                    ),
                ),
                (
                    "status_below",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("default", "Waiting"),
                            ("approve", "Friends"),
                            ("reject", "Rejected"),
                            ("blocked", "Blocked"),
                            ("ended", "Ended"),
                        ],
                        default="",
                        max_length=7,
                    ),
                ),
                ("asked_by_side", models.PositiveSmallIntegerField(default=0)),
                ("blocked_by_0", models.BooleanField(default=False, verbose_name="blocked by the sender")),
                ("blocked_by_1", models.BooleanField(default=False, verbose_name="blocked by the friend")),
                ("was_approved", models.BooleanField(default=False, verbose_name="ever approved")),
                ("asked_at", models.DateTimeField()),
                ("answered_at", models.DateTimeField(blank=True, null=True)),
                ("approved_at", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "sender",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("pair_index",), name="friendship_one_row_per_pair"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ["default", "approve", "reject", "blocked", "ended"])
                        ),
                        name="friendship_status_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("status", "blocked"),
                                models.Q(("blocked_by_0", True), ("blocked_by_1", True), _connector="OR"),
                            ),
                            models.Q(
                                models.Q(("status", "blocked"), _negated=True),
                                ("blocked_by_0", False),
                                ("blocked_by_1", False),
                            ),
                            _connector="OR",
                        ),
                        name="friendship_is_blocked_by_somebody",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("status", "blocked"), ("status_below__in", ["default", "reject", "ended"])
                            ),
                            models.Q(models.Q(("status", "blocked"), _negated=True), ("status_below", "")),
                            _connector="OR",
                        ),
                        name="friendship_has_a_status_below_a_block_only",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status__in", ["approve", "ended"]), _negated=True),
                            ("was_approved", True),
                            _connector="OR",
                        ),
                        name="friendship_was_approved_before_it_ended",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("approved_at__isnull", False), ("was_approved", True)),
                            models.Q(("approved_at__isnull", True), ("was_approved", False)),
                            _connector="OR",
                        ),
                        name="friendship_approval_has_a_date",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "reject"), _negated=True),
                            ("answered_at__isnull", False),
                            _connector="OR",
                        ),
                        name="friendship_rejection_has_a_date",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("asked_by_side__in", [0, 1])),
                        name="friendship_was_asked_by_one_of_the_two",
                    ),
                ],
            },
        ),
    ]
