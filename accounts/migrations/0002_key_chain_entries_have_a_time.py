import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_people_and_keys"),
    ]

    operations = [
        migrations.AddField(
            model_name="keychainentry",
            name="stored_at",
            field=models.DateTimeField(default=django.utils.timezone.now),
        ),
    ]
