"""Operators see of a conversation how much and when. Never who, and what it says nobody but the two can see."""

from __future__ import annotations

from django.contrib import admin

from messaging.models import Conversation
from messaging.report_admin import ReportAdmin
from securechat.audited_admin import ReadOnlyAdmin

__all__ = ["ConversationAdmin", "ReportAdmin"]


@admin.register(Conversation)
class ConversationAdmin(ReadOnlyAdmin):
    list_display = ("messages", "epoch", "active_at")
    list_display_links = None
    fields = ("messages", "epoch", "active_at")
    readonly_fields = fields
    list_filter = (("active_at", admin.DateFieldListFilter),)
    sortable_by = ("active_at",)
    ordering = ("-active_at",)

    @admin.display(description="messages", ordering="last_n")
    def messages(self, conversation: Conversation) -> int:
        return conversation.last_n
