"""Who may sign people out sees where they are logged in. An installation may change its roles afterwards; it is added once."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

ROLES = ("Moderator", "Senior moderator", "Operator")


def add_permission(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="accounts", model="browsersession"
    )
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=content_type,
        codename="view_browsersession",
        defaults={"name": "Can view browser session"},
    )
    for group in apps.get_model("auth", "Group").objects.filter(name__in=ROLES):
        group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0010_daily_signals")]

    operations = [migrations.RunPython(add_permission, migrations.RunPython.noop)]
