"""Sanctions in the admin: what there is, lifting and approving it, and the forms that impose it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.errors import SanctionRefused
from accounts.models import Sanction, SanctionQuerySet, User
from accounts.services import sanctions
from securechat import audit
from securechat.audited_admin import ReadOnlyAdmin, ReasonForm, ask_first

if TYPE_CHECKING:
    _Inline = admin.TabularInline[Sanction, User]
else:
    _Inline = admin.TabularInline

Kind = Sanction.Kind
ENDING_SOON = timedelta(days=1)
LONGEST_MUTE_HOURS = 24 * 30
PERMISSIONS = {
    Kind.WARNING: "accounts.warn_user",
    Kind.MUTE: "accounts.mute_user",
    Kind.SUSPENSION: "accounts.suspend_user",
    Kind.BAN: "accounts.ban_user",
}
VERBS = {Kind.WARNING: "Warn", Kind.MUTE: "Mute", Kind.SUSPENSION: "Suspend", Kind.BAN: "Ban"}
DONE = {Kind.WARNING: "warned", Kind.MUTE: "muted", Kind.SUSPENSION: "suspended", Kind.BAN: "banned"}
NOTES = {
    Kind.WARNING: "They see the reason on every page until they say that they have read it.",
    Kind.MUTE: "They can read, but not send.",
    Kind.SUSPENSION: "All their sessions end, and a log-in tells them why and until when.",
    Kind.BAN: "All their sessions end, and a log-in tells them why. It has no end, but can be lifted.",
}


class ToldReasonForm(ReasonForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].help_text = "The person reads it. It goes into the audit trail with your name."

    def ends_at(self) -> datetime | None:
        """Call it when the form is valid."""
        return None


class MuteForm(ToldReasonForm):
    hours = forms.IntegerField(min_value=1, max_value=LONGEST_MUTE_HOURS, initial=24)

    def ends_at(self) -> datetime:
        return timezone.now() + timedelta(hours=self.cleaned_data["hours"])


class SuspensionForm(ToldReasonForm):
    until = forms.DateTimeField(
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}), help_text="In UTC, and in the future."
    )

    def clean_until(self) -> datetime:
        until: datetime = self.cleaned_data["until"]
        if until <= timezone.now():
            raise forms.ValidationError("That is over already.")
        return until

    def ends_at(self) -> datetime:
        until: datetime = self.cleaned_data["until"]
        return until


FORMS: dict[Kind, type[ToldReasonForm]] = {Kind.MUTE: MuteForm, Kind.SUSPENSION: SuspensionForm}


def ask_for(
    kind: Kind,
    model_admin: admin.ModelAdmin[Any],
    request: HttpRequest,
    queryset: QuerySet[Any],
    *,
    whom: str = "",
) -> ToldReasonForm | HttpResponse:
    """The confirmed form, or the page that asks."""
    form = FORMS.get(kind, ToldReasonForm)
    return ask_first(model_admin, request, queryset, form, verb=VERBS[kind], whom=whom, note=NOTES[kind])


def operator_of(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


class SanctionsOfPeople:
    """The actions of a list of people, or of what leads to people (then with another ``_impose``). Mixed into its admin."""

    def has_warn_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(PERMISSIONS[Kind.WARNING])

    def has_mute_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(PERMISSIONS[Kind.MUTE])

    def has_suspend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(PERMISSIONS[Kind.SUSPENSION])

    def has_ban_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(PERMISSIONS[Kind.BAN])

    @admin.action(permissions=["warn"], description="Warn…")
    def warn(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        return self._impose(Kind.WARNING, request, queryset)

    @admin.action(permissions=["mute"], description="Mute: no sending for some hours…")
    def mute(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        return self._impose(Kind.MUTE, request, queryset)

    @admin.action(permissions=["suspend"], description="Suspend until…")
    def suspend(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        return self._impose(Kind.SUSPENSION, request, queryset)

    @admin.action(permissions=["ban"], description="Ban…")
    def ban(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        return self._impose(Kind.BAN, request, queryset)

    def _impose(self, kind: Kind, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        assert isinstance(self, admin.ModelAdmin)
        form = ask_for(kind, self, request, queryset)
        if isinstance(form, HttpResponse):
            return form
        done = []
        for user in queryset:
            try:
                done.append(
                    sanctions.impose(
                        user=user,
                        kind=kind,
                        reason=form.cleaned_data["reason"],
                        ends_at=form.ends_at(),
                        by=operator_of(request),
                        source=audit.source_of(request),
                    )
                )
            except SanctionRefused as refusal:
                messages.warning(request, f"Skipped: {refusal}")
        tell(request, kind, done)
        return None


def tell(request: HttpRequest, kind: Kind, done: list[Sanction]) -> None:
    """What came of it."""
    waiting = sum(sanction.needs_approval for sanction in done)
    if len(done) > waiting:
        messages.success(request, f"{len(done) - waiting} {DONE[kind]}.")
    if waiting:
        messages.success(request, f"{waiting} to be banned once another operator approves it.")


class SanctionsInline(_Inline):
    model = Sanction
    fk_name = "user"
    fields = readonly_fields = ("kind", "state", "reason", "starts_at", "ends_at", "imposed_by")
    ordering = ("-starts_at", "-pk")
    verbose_name_plural = "sanctions"
    can_delete = False
    max_num = 0
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Sanction]:
        return super().get_queryset(request).select_related("imposed_by")

    def has_add_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="status")
    def state(self, sanction: Sanction) -> str:
        return sanction.status


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("force", "In force"), ("ending", "Ending within a day"), ("waiting", "Waiting for approval")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Sanction]) -> QuerySet[Sanction]:
        assert isinstance(queryset, SanctionQuerySet)
        match self.value():
            case "force":
                return queryset.in_force()
            case "ending":
                return queryset.in_force().filter(ends_at__lte=timezone.now() + ENDING_SOON)
            case "waiting":
                return queryset.waiting()
            case _:
                return queryset


@admin.register(Sanction)
class SanctionAdmin(ReadOnlyAdmin):
    """Imposed from the lists of people and of reports."""

    list_display = ("id", "user", "kind", "state", "starts_at", "ends_at", "imposed_by")
    list_filter = (StateFilter, "kind")
    list_select_related = ("user", "imposed_by")
    show_facets = admin.ShowFacets.ALLOW
    ordering = ("-starts_at", "-pk")
    search_fields = ("user__folded_name__startswith",)
    search_help_text = "The beginning of a name"
    fields = readonly_fields = (
        "user",
        "kind",
        "state",
        "reason",
        "starts_at",
        "ends_at",
        "imposed_by",
        "report",
        "acknowledged_at",
        "lifted_at",
    )
    actions = ("approve", "lift")

    @admin.display(description="status")
    def state(self, sanction: Sanction) -> str:
        return sanction.status

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Sanction], search_term: str
    ) -> tuple[QuerySet[Sanction], bool]:
        return super().get_search_results(request, queryset, search_term.lower())

    def has_approve_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(PERMISSIONS[Kind.BAN])

    def has_lift_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.lift_sanction")

    @admin.action(permissions=["approve"], description="Approve bans that another operator asked for…")
    def approve(self, request: HttpRequest, queryset: QuerySet[Sanction]) -> HttpResponse | None:
        return self._each(request, queryset, sanctions.approve, "Approve", "approved")

    @admin.action(permissions=["lift"], description="Lift: end it now…")
    def lift(self, request: HttpRequest, queryset: QuerySet[Sanction]) -> HttpResponse | None:
        return self._each(request, queryset, sanctions.lift, "Lift", "lifted")

    def _each(
        self, request: HttpRequest, queryset: QuerySet[Sanction], act: Any, verb: str, done: str
    ) -> HttpResponse | None:
        form = ask_first(self, request, queryset.select_related("user"), ReasonForm, verb=verb)
        if isinstance(form, HttpResponse):
            return form
        count = 0
        for sanction in queryset:
            try:
                act(
                    sanction=sanction,
                    by=operator_of(request),
                    why=form.cleaned_data["reason"],
                    source=audit.source_of(request),
                )
                count += 1
            except SanctionRefused as refusal:
                messages.warning(request, f"Skipped {sanction.pk}: {refusal}")
        if count:
            messages.success(request, f"{count} {done}.")
        return None
