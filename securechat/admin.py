"""The audit trail and Django's own log, to read."""

from __future__ import annotations

import json

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.http import HttpRequest

from securechat.audit import AuditEvent
from securechat.audited_admin import ReadOnlyAdmin


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ("n", "action", "on", "who", "why", "time")
    list_filter = (("at", admin.DateFieldListFilter),)
    sortable_by = ("time",)
    ordering = ("-n",)
    search_fields = ("^action", "=on", "=by_name")
    search_help_text = "The beginning of an action, an object such as user:17, or an operator's exact name"
    fields = readonly_fields = (
        "n",
        "time",
        "who",
        "action",
        "on",
        "why",
        "source",
        "shown_before",
        "shown_after",
        "previous",
        "hash",
    )

    @admin.display(description="time", ordering="n")
    def time(self, event: AuditEvent) -> str:
        return f"{event.at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="by", ordering="by_name")
    def who(self, event: AuditEvent) -> str:
        return (
            "a shell" if event.by_id is None and event.source.startswith("command:") else event.by_name or "-"
        )

    @admin.display(description="before")
    def shown_before(self, event: AuditEvent) -> str:
        return _lines(event.before)

    @admin.display(description="after")
    def shown_after(self, event: AuditEvent) -> str:
        return _lines(event.after)


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnlyAdmin):
    """Django's record of its forms: it goes with the account that made it, which is why there is the trail."""

    list_display = ("action_time", "user", "content_type", "object_repr", "action_flag", "shown_change")
    list_filter = (("action_time", admin.DateFieldListFilter), "action_flag")
    list_select_related = ("user", "content_type")
    sortable_by = ("action_time",)
    search_fields = ("=user__username", "=object_id")
    search_help_text = "An operator's exact name, or an object's id"
    fields = readonly_fields = (
        "action_time",
        "user",
        "content_type",
        "object_id",
        "object_repr",
        "action_flag",
        "shown_change",
    )

    @admin.display(description="change")
    def shown_change(self, entry: LogEntry) -> str:
        return entry.get_change_message()

    def has_view_permission(self, request: HttpRequest, obj: LogEntry | None = None) -> bool:
        return request.user.has_perm("admin.view_logentry")


def _lines(stored: str) -> str:
    if not stored:
        return "-"
    return "\n".join(
        f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in json.loads(stored).items()
    )
