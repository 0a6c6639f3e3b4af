"""Where people are logged in, for operators who may sign them out: the browser, and when it was last seen; no address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html

from accounts.errors import SessionNotFound
from accounts.models import BrowserSession, User
from accounts.sanction_admin import operator_of
from accounts.services import people
from securechat import audit, sealed
from securechat.audited_admin import ReadOnlyAdmin, ReasonForm, ask_first

if TYPE_CHECKING:
    _Inline = admin.TabularInline[BrowserSession, User]
else:
    _Inline = admin.TabularInline

_SEALED_BY_OTHERS = "(sealed by other keys)"


class SessionColumns:
    """Mixed into what shows sessions. Who may end them sees them."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("accounts.sign_out_user")

    @admin.display(description="browser")
    def browser(self, session: BrowserSession) -> str:
        try:
            return session.details.name
        except sealed.SealBroken:
            return _SEALED_BY_OTHERS


class SessionsInline(SessionColumns, _Inline):
    """The last seen come first. Those that have expired are left out; the list has them until they are pruned."""

    model = BrowserSession
    fields = readonly_fields = ("browser", "signed_in_at", "seen_at", "revoke")
    ordering = ("-seen_at", "pk")
    verbose_name_plural = "sessions"
    can_delete = False
    max_num = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[BrowserSession]:
        return super().get_queryset(request).filter(session__expire_date__gt=timezone.now())

    def has_add_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="")
    def revoke(self, session: BrowserSession) -> str:
        address = reverse("admin:accounts_browsersession_revoke", args=[session.pk])
        return format_html('<a href="{}">Revoke…</a>', address)


@admin.register(BrowserSession)
class BrowserSessionAdmin(SessionColumns, ReadOnlyAdmin):
    list_display = ("person", "browser", "signed_in_at", "seen_at")
    list_display_links = None
    list_filter = (("seen_at", admin.DateFieldListFilter),)
    list_select_related = ("user",)
    sortable_by = ("seen_at",)
    ordering = ("-seen_at", "pk")
    search_fields = ("user__folded_name",)  # Shows the box; get_search_results answers.
    search_help_text = "The beginning of a name"
    fields = readonly_fields = ("person", "browser", "signed_in_at", "seen_at")
    actions = ("revoke",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[BrowserSession], search_term: str
    ) -> tuple[QuerySet[BrowserSession], bool]:
        if not search_term.strip():
            return queryset, False
        return queryset.filter(user__in=User.objects.named_from(search_term.strip())), False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.revoke_view)
        return [
            path("<uuid:session_id>/revoke/", page, name="accounts_browsersession_revoke"),
            *super().get_urls(),
        ]

    def revoke_view(self, request: HttpRequest, session_id: UUID) -> HttpResponse:
        """Of one, from the person's page; the list's action asks again."""
        chosen = self.get_queryset(request).filter(pk=session_id).select_related("user")
        session = chosen.first()
        if not self.has_revoke_permission(request) or session is None:
            messages.error(request, "That session is over already, or not yours to end.")
            return redirect("admin:index")
        back = redirect("admin:accounts_user_change", session.user_id)
        return self.revoke(request, chosen) or back

    @admin.action(permissions=["revoke"], description="Revoke: end these sessions…")
    def revoke(self, request: HttpRequest, queryset: QuerySet[BrowserSession]) -> HttpResponse | None:
        form = ask_first(
            self,
            request,
            queryset.select_related("user"),
            ReasonForm,
            verb="Revoke",
            describe=self._described,
        )
        if isinstance(form, HttpResponse):
            return form
        ended = left = 0
        by, why = operator_of(request), form.cleaned_data["reason"]
        for session in queryset.select_related("user"):
            try:
                people.revoke_session(session=session, by=by, why=why, source=audit.source_of(request))
                ended += 1
            except SessionNotFound:
                left += 1
        messages.success(request, f"{ended} revoked, {left} left as they were.")
        return None

    @admin.display(description="person", ordering="user")
    def person(self, session: BrowserSession) -> str:
        return session.user.username

    def _described(self, session: BrowserSession) -> str:
        return f"{session.user}, {self.browser(session)}"
