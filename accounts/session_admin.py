"""Where people are logged in, and ending one of these: the browser's name and times; no address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from accounts.models import BrowserSession, User
from accounts.sanction_admin import operator_of
from accounts.services import people
from securechat import audit, sealed
from securechat.audited_admin import ReadOnlyAdmin, ReasonForm, ask_first

if TYPE_CHECKING:
    _Inline = admin.TabularInline[BrowserSession, User]
else:
    _Inline = admin.TabularInline

_SHOWN = 20


@admin.display(description="browser")
def browser(session: BrowserSession) -> str:
    try:
        return session.details.name
    except sealed.SealBroken:
        return "(sealed by other keys)"


class SessionsInline(_Inline):
    """The last seen; all of them are in the list of sessions."""

    model = BrowserSession
    fields = readonly_fields = (browser, "signed_in_at", "seen_at")
    ordering = ("-seen_at",)
    verbose_name_plural = "sessions (the list of sessions ends single ones)"
    can_delete = False
    max_num = 0
    show_change_link = True


@admin.register(BrowserSession)
class BrowserSessionAdmin(ReadOnlyAdmin):
    list_display = ("user", browser, "signed_in_at", "seen_at")
    list_select_related = ("user",)
    fields = readonly_fields = ("user", browser, "signed_in_at", "seen_at")
    ordering = ("-seen_at", "-pk")
    search_fields = ("user__folded_name__exact",)
    search_help_text = "A person's exact name"
    show_full_result_count = False
    actions = ("end",)

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.sign_out_user")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[BrowserSession], search_term: str
    ) -> tuple[QuerySet[BrowserSession], bool]:
        return super().get_search_results(request, queryset, search_term.lower())

    @admin.action(permissions=["end"], description="End: sign out there…")
    def end(self, request: HttpRequest, queryset: QuerySet[BrowserSession]) -> HttpResponse | None:
        form = ask_first(
            self, request, queryset.select_related("user"), ReasonForm, verb="End", describe=_of_whom
        )
        if isinstance(form, HttpResponse):
            return form
        why, source, by = form.cleaned_data["reason"], audit.source_of(request), operator_of(request)
        ended = [
            people.end_session(session=session, by=by, source=source, why=why)
            for session in queryset.select_related("user")
        ]
        self.message_user(request, f"{sum(ended)} ended.", messages.SUCCESS)
        return None


def _of_whom(session: BrowserSession) -> str:
    return f"{session.user.username}, {browser(session)}"
