"""What the roles may impose. An installation may change them afterwards; it is added once."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

VIEW = ("view_sanction", "Can view sanction")
WARN = ("warn_user", "Can warn people")
MUTE = ("mute_user", "Can mute people for a time")
SUSPEND = ("suspend_user", "Can suspend people for a time")
BAN = ("ban_user", "Can ban people, and approve the bans of others")
LIFT = ("lift_sanction", "Can lift sanctions")
ADDED = {
    "Moderator": [VIEW, WARN, MUTE],
    "Senior moderator": [VIEW, WARN, MUTE, SUSPEND, BAN, LIFT],
    "Auditor": [VIEW],
}


def add_permissions(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    group_model, permission_model = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="accounts", model="sanction"
    )
    for name, permissions in ADDED.items():
        group = group_model.objects.filter(name=name).first()
        if group is None:
            continue  # Removed here.
        for codename, label in permissions:
            permission, _ = permission_model.objects.get_or_create(
                content_type=content_type, codename=codename, defaults={"name": label}
            )
            group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0007_sanctions")]

    operations = [migrations.RunPython(add_permissions, migrations.RunPython.noop)]
