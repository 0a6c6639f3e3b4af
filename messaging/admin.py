"""Operators see of a conversation how much and when. Never who, and what it says nobody but the two can see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest

from messaging.models import Conversation
from messaging.report_admin import ReportAdmin

__all__ = ["ConversationAdmin", "ReportAdmin"]

if TYPE_CHECKING:
    ConversationAdminBase = admin.ModelAdmin[Conversation]
else:
    ConversationAdminBase = admin.ModelAdmin


@admin.register(Conversation)
class ConversationAdmin(ConversationAdminBase):
    list_display = ("messages", "epoch", "active_at")
    list_display_links = None
    fields = ("messages", "epoch", "active_at")
    readonly_fields = fields
    date_hierarchy = "active_at"
    ordering = ("-active_at",)
    show_full_result_count = False

    @admin.display(description="messages", ordering="last_n")
    def messages(self, conversation: Conversation) -> int:
        return conversation.last_n

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        return False
