"""The four roles, as groups. An installation may change them afterwards; they are made once.

Permissions are rows that Django makes after all migrations: those that a role needs are made here, as Django would.
"""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

VIEW_PERSON = ("accounts", "user", "view_user", "Can view person")
SIGN_OUT = ("accounts", "user", "sign_out_user", "Can sign people out everywhere")
DEACTIVATE = ("accounts", "user", "deactivate_user", "Can deactivate people and let them in again")
DELETE_PERSON = ("accounts", "user", "delete_user", "Can delete person")
RESET_FACTOR = ("accounts", "user", "reset_second_factor", "Can reset the second factor of operators")
VIEW_FRIENDSHIP = ("friends", "friendship", "view_friendship", "Can view friendship")
END_FRIENDSHIP = ("friends", "friendship", "end_friendship", "Can end friendships")
REJECT_REQUEST = ("friends", "friendship", "reject_request", "Can reject friend requests")
VIEW_CONVERSATION = ("messaging", "conversation", "view_conversation", "Can view conversation")
VIEW_REPORT = ("messaging", "report", "view_report", "Can view report")
RESOLVE_REPORT = ("messaging", "report", "resolve_report", "Can claim, dismiss and resolve reports")
VIEW_EVIDENCE = ("messaging", "report", "view_evidence", "Can open the evidence of a report")
VIEW_AUDIT = ("securechat", "auditevent", "view_auditevent", "Can view audit event")
VIEW_LOG = ("admin", "logentry", "view_logentry", "Can view log entry")

MODERATOR = [
    VIEW_PERSON,
    SIGN_OUT,
    VIEW_FRIENDSHIP,
    REJECT_REQUEST,
    VIEW_CONVERSATION,
    VIEW_REPORT,
    RESOLVE_REPORT,
    VIEW_EVIDENCE,
]
ROLES = {
    "Moderator": MODERATOR,
    "Senior moderator": [*MODERATOR, DEACTIVATE, END_FRIENDSHIP],
    "Auditor": [VIEW_AUDIT, VIEW_LOG],
    "Operator": [VIEW_PERSON, SIGN_OUT, DEACTIVATE, DELETE_PERSON, RESET_FACTOR, VIEW_CONVERSATION],
}


def make_roles(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    group_model, permission_model = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    content_types = apps.get_model("contenttypes", "ContentType").objects
    for name, permissions in ROLES.items():
        group, _ = group_model.objects.get_or_create(name=name)
        for app, model, codename, label in permissions:
            content_type, _ = content_types.get_or_create(app_label=app, model=model)
            permission, _ = permission_model.objects.get_or_create(
                content_type=content_type, codename=codename, defaults={"name": label}
            )
            group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_permissions_of_operators"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        # Back: the groups stay, as people may be in them.
        migrations.RunPython(make_roles, migrations.RunPython.noop),
    ]
