"""Entries from before they had a time: nobody who could read them then may find the chain shorter now."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import OuterRef, Subquery


def set_times(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    joined = apps.get_model("accounts", "User").objects.filter(pk=OuterRef("user_id")).values("date_joined")
    apps.get_model("accounts", "KeyChainEntry").objects.update(stored_at=Subquery(joined))


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_key_chain_entries_have_a_time"),
    ]

    operations = [
        migrations.RunPython(set_times, migrations.RunPython.noop),
    ]
