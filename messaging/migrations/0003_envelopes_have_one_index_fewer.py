"""The index that a foreign key brings is the beginning of three others."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0002_heads_say_what_was_read")]

    operations = [
        migrations.AlterField(
            model_name="envelope",
            name="conversation",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="envelopes",
                to="messaging.conversation",
            ),
        ),
    ]
