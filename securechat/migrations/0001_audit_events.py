"""The audit trail, and triggers by which the database itself refuses to change or remove what is in it.

SQLite drops the triggers of a table that a later migration rebuilds: such a migration makes them again.
"""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

SQLITE = [
    f"""
    CREATE TRIGGER securechat_audit_no_{verb} BEFORE {verb} ON securechat_auditevent
    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
    """
    for verb in ("update", "delete")
]
# An insert that replaces a row would remove one without asking the trigger above.
SQLITE.append(
    """
    CREATE TRIGGER securechat_audit_no_replace BEFORE INSERT ON securechat_auditevent
    WHEN EXISTS (SELECT 1 FROM securechat_auditevent WHERE n = NEW.n OR previous = NEW.previous)
    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
    """
)
POSTGRESQL = [
    """
    CREATE FUNCTION securechat_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the audit trail is append-only' USING ERRCODE = 'restrict_violation'; END $$
    """,
    """
    CREATE TRIGGER securechat_audit_no_change BEFORE UPDATE OR DELETE ON securechat_auditevent
    FOR EACH ROW EXECUTE FUNCTION securechat_audit_refuse()
    """,
    """
    CREATE TRIGGER securechat_audit_no_truncate BEFORE TRUNCATE ON securechat_auditevent
    FOR EACH STATEMENT EXECUTE FUNCTION securechat_audit_refuse()
    """,
]
POSTGRESQL_BACK = ["DROP FUNCTION securechat_audit_refuse() CASCADE"]
SQLITE_BACK = [f"DROP TRIGGER securechat_audit_no_{verb}" for verb in ("update", "delete", "replace")]


def make_triggers(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in {"sqlite": SQLITE, "postgresql": POSTGRESQL}[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


def drop_triggers(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in {"sqlite": SQLITE_BACK, "postgresql": POSTGRESQL_BACK}[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                (
                    "n",
                    models.BigIntegerField(
                        help_text="Counted from 1 without gaps.",
                        primary_key=True,
                        serialize=False,
                        verbose_name="number",
                    ),
                ),
                ("at", models.DateTimeField(db_index=True, verbose_name="time")),
                ("action", models.CharField(db_index=True, max_length=64)),
                ("by_id", models.BigIntegerField(help_text="Empty: a command in a shell.", null=True)),
                ("by_name", models.CharField(blank=True, max_length=150, verbose_name="by")),
                ("on", models.CharField(blank=True, db_index=True, max_length=200)),
                ("why", models.TextField(blank=True)),
                ("source", models.CharField(blank=True, max_length=200, verbose_name="from")),
                ("before", models.TextField(blank=True)),
                ("after", models.TextField(blank=True)),
                (
                    "previous",
                    models.CharField(help_text="The hash of the event before.", max_length=64, unique=True),
                ),
                ("hash", models.CharField(max_length=64)),
            ],
            options={
                "ordering": ("n",),
                "default_permissions": ("view",),
            },
        ),
        migrations.RunPython(make_triggers, drop_triggers),
    ]
