from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0008_roles_may_sanction")]

    operations = [
        migrations.AddField(
            model_name="user",
            name="deleted_at",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="The account is gone; its name and public keys are left for friends who keep their history.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("deleted_at", None),
                    models.Q(("is_active", False), ("is_staff", False), ("is_superuser", False)),
                    _connector="OR",
                ),
                name="user_deleted_can_do_nothing",
            ),
        ),
    ]
