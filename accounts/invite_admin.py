"""Invitations in the admin: what there are, and revoking them. They are made by `manage.py invite`, which shows the code once."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from accounts.models import Invite
from accounts.sanction_admin import operator_of
from accounts.services import invites
from securechat import audit
from securechat.audited_admin import ReadOnlyAdmin, ReasonForm, ask_first


@admin.register(Invite)
class InviteAdmin(ReadOnlyAdmin):
    list_display = ("id", "state", "uses_left", "uses", "expires_at", "note", "made_by")
    list_select_related = ("made_by",)
    fields = readonly_fields = (
        "id",
        "state",
        "note",
        "uses",
        "uses_left",
        "made_at",
        "expires_at",
        "revoked_at",
        "made_by",
    )
    ordering = ("-pk",)
    show_full_result_count = False
    actions = ("revoke",)

    @admin.display(description="status")
    def state(self, invite: Invite) -> str:
        return invite.status

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_invite")

    @admin.action(permissions=["revoke"], description="Revoke…")
    def revoke(self, request: HttpRequest, queryset: QuerySet[Invite]) -> HttpResponse | None:
        form = ask_first(self, request, queryset, ReasonForm, verb="Revoke")
        if isinstance(form, HttpResponse):
            return form
        why, source, by = form.cleaned_data["reason"], audit.source_of(request), operator_of(request)
        done = [invites.revoke(invite=invite, by=by, source=source, why=why) for invite in queryset]
        self.message_user(request, f"{sum(done)} revoked.", messages.SUCCESS)
        return None
