"""Heads of the form before are dropped: browsers would refuse them, and send new ones when they look."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def drop_heads(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("messaging", "Head").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0001_conversations"),
    ]

    operations = [
        migrations.RunPython(drop_heads, migrations.RunPython.noop),
    ]
