"""Friendships for operators: looked up by exact name, and moved only by the transitions that people have, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse

from accounts.models import User
from accounts.names import fold
from friends.models import Friendship
from friends.services import operators
from securechat import audit, sealed
from securechat.audited_admin import ReadOnlyAdmin, ReasonForm, ask_first

Act = Callable[..., list[Friendship]]


class BlockedFilter(admin.SimpleListFilter):
    title = "blocked by"
    parameter_name = "blocked"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("sender", "The sender"), ("friend", "The friend"), ("both", "Both"), ("nobody", "Nobody")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Friendship]) -> QuerySet[Friendship]:
        conditions = {
            "sender": Q(
                status="blocked", blocked_by_0=True
            ),  # The status says nothing new, but has an index.
            "friend": Q(status="blocked", blocked_by_1=True),
            "both": Q(status="blocked", blocked_by_0=True, blocked_by_1=True),
            "nobody": Q(blocked_by_0=False, blocked_by_1=False),
        }
        condition = conditions.get(self.value() or "")
        return queryset if condition is None else queryset.filter(condition)


@admin.register(Friendship)
class FriendshipAdmin(ReadOnlyAdmin):
    list_display = (
        "public_id",
        "sender",
        "friend",
        "status",
        "blocked",
        "asked_at",
        "approved_at",
        "ended_at",
    )
    list_filter = (
        "status",
        BlockedFilter,
        ("asked_at", admin.DateFieldListFilter),
    )
    list_select_related = ("sender",)
    show_facets = admin.ShowFacets.NEVER  # They would count every row.
    sortable_by = ("asked_at",)
    ordering = ("-asked_at", "-pk")
    search_fields = ("sender__username",)  # Shows the box; get_search_results answers.
    search_help_text = (
        "A person's exact username, on either side. Sealed names cannot be searched by their parts."
    )
    fields = readonly_fields = (
        "public_id",
        "sender",
        "friend",
        "status",
        "status_below",
        "blocked",
        "asked_by",
        "was_approved",
        "asked_at",
        "answered_at",
        "approved_at",
        "ended_at",
    )
    actions = ("end_friendships", "reject_requests")

    @admin.display(description="friend")
    def friend(self, friendship: Friendship) -> str:
        try:
            return friendship.friend_name
        except sealed.SealBroken:
            return "(sealed by other keys)"

    @admin.display(description="blocked by")
    def blocked(self, friendship: Friendship) -> str:
        names = [
            name for side, name in enumerate(("sender", "friend")) if friendship.blocked_by(1 if side else 0)
        ]
        return " and ".join(names) or "-"

    @admin.display(description="last asked by")
    def asked_by(self, friendship: Friendship) -> str:
        return "friend" if friendship.asked_by_side else "sender"

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("friends.end_friendship")

    def has_reject_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("friends.reject_request")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Friendship], search_term: str
    ) -> tuple[QuerySet[Friendship], bool]:
        if not search_term.strip():
            return queryset, False
        person = User.objects.filter(folded_name=fold(search_term.strip())).first()
        if person is None:
            return queryset.none(), False
        return queryset.filter(pk__in=Friendship.objects.involving(person).values("pk")), False

    @admin.action(permissions=["end"], description="End the selected friendships")
    def end_friendships(self, request: HttpRequest, queryset: QuerySet[Friendship]) -> HttpResponse | None:
        return self._act(request, queryset, operators.end_friendships, "End", "ended")

    @admin.action(permissions=["reject"], description="Reject the selected requests")
    def reject_requests(self, request: HttpRequest, queryset: QuerySet[Friendship]) -> HttpResponse | None:
        return self._act(request, queryset, operators.reject_waiting, "Reject", "rejected")

    def _act(
        self, request: HttpRequest, queryset: QuerySet[Friendship], act: Act, verb: str, done: str
    ) -> HttpResponse | None:
        """Asks first, and for the reason; then tells how many it was possible for."""
        form = ask_first(self, request, queryset.select_related("sender"), ReasonForm, verb=verb)
        if isinstance(form, HttpResponse):
            return form
        chosen: list[UUID] = list(queryset.values_list("public_id", flat=True))
        assert isinstance(request.user, User)
        changed = act(
            public_ids=chosen,
            by=request.user,
            why=form.cleaned_data["reason"],
            source=audit.source_of(request),
        )
        if changed:
            rows = Friendship.objects.filter(pk__in=[friendship.pk for friendship in changed])
            LogEntry.objects.log_actions(
                request.user.pk, rows, CHANGE, change_message=f"{done.capitalize()} by an operator."
            )
            messages.success(request, f"{len(changed)} {done}.")
        if skipped := len(chosen) - len(changed):
            messages.warning(request, f"{skipped} skipped: that is not possible from their status.")
        return None
