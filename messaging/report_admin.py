"""The moderators' queue: what was reported, whether it is proved, and who looks at it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Case, F, IntegerField, QuerySet, Value, When
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone

from accounts.errors import SanctionRefused
from accounts.models import Sanction, User
from accounts.sanction_admin import SanctionsOfPeople, ask_for, tell
from messaging.models import Report, ReportQuerySet
from messaging.services import reports
from securechat import audit, sealed
from securechat.audited_admin import ReadOnlyAdmin, ReasonForm, ask_first

Kind = Sanction.Kind


class QueueFilter(admin.SimpleListFilter):
    title = "queue"
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Open"), ("mine", "Mine"), ("unassigned", "Unassigned"), ("overdue", "Overdue")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Report]) -> QuerySet[Report]:
        assert isinstance(queryset, ReportQuerySet)
        match self.value():
            case "open":
                return queryset.waiting()
            case "mine":
                return queryset.waiting().filter(assignee=request.user.pk)
            case "unassigned":
                return queryset.waiting().filter(assignee=None)
            case "overdue":
                return queryset.overdue()
            case _:
                return queryset


class VerifiedFilter(admin.SimpleListFilter):
    title = "verified"
    parameter_name = "verified"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes"), ("no", "No"), ("none", "No messages")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Report]) -> QuerySet[Report]:
        assert isinstance(queryset, ReportQuerySet)
        match self.value():
            case "yes":
                return queryset.verified()
            case "no":
                return queryset.filter(verified_count__lt=F("message_count"))
            case "none":
                return queryset.filter(message_count=0)
            case _:
                return queryset


class ClosingForm(ReasonForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].help_text += " Neither the reporter nor the reported person sees it."


@admin.register(Report)
class ReportAdmin(SanctionsOfPeople, ReadOnlyAdmin):
    list_display = ("id", "age", "category", "reported_person", "verified", "status", "assignee")
    list_filter = (QueueFilter, VerifiedFilter, "status", "category")
    list_select_related = ("reported", "assignee")
    list_per_page = 50
    show_facets = admin.ShowFacets.ALLOW
    date_hierarchy = "made_at"
    search_fields = ("reported_name__istartswith",)
    search_help_text = "The beginning of the reported person's name"
    fields = readonly_fields = (
        "reported_person",
        "category",
        "status",
        "assignee",
        "made_at",
        "closed_at",
        "disclosed",
        "verified",
    )
    actions = ("claim", "release", "dismiss", "resolve", "warn", "mute", "suspend", "ban")
    change_form_template = "admin/messaging/report/change_form.html"

    # What is seen

    def get_queryset(self, request: HttpRequest) -> QuerySet[Report]:
        return super().get_queryset(request).defer("sealed_evidence")

    def get_ordering(self, request: HttpRequest) -> Any:
        """What waits comes first, the oldest of it on top."""
        waits = Case(
            When(status__in=Report.WAITING, then=Value(0)), default=Value(1), output_field=IntegerField()
        )
        return (waits, "made_at", "pk")

    @admin.display(description="age", ordering="made_at")
    def age(self, report: Report) -> str:
        return age_in_words(timezone.now() - report.made_at)

    @admin.display(description="reported person", ordering="reported_name")
    def reported_person(self, report: Report) -> str:
        is_there = report.reported is not None and not report.reported.is_deleted
        return report.reported_name if is_there else f"{report.reported_name} (account deleted)"

    @admin.display(description="verified", boolean=True)
    def verified(self, report: Report) -> bool | None:
        return report.is_verified

    @admin.display(description="disclosed messages")
    def disclosed(self, report: Report) -> str:
        if not report.message_count:
            return "None: the report is about the person."
        return f"{report.message_count}, of which {report.verified_count} verified"

    # Who may

    def has_resolve_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("messaging.resolve_report")

    def has_evidence_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("messaging.view_evidence")

    # Evidence

    def get_urls(self) -> list[URLPattern]:
        evidence = path(
            "<int:report_id>/evidence/",
            self.admin_site.admin_view(self.evidence_view),
            name="messaging_report_evidence",
        )
        return [evidence, *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        context["may_open_evidence"] = self.has_evidence_permission(request)
        return super().render_change_form(request, context, *args, **kwargs)

    def evidence_view(self, request: HttpRequest, report_id: int) -> HttpResponse:
        """A POST, as each look is written down."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not (self.has_view_permission(request) and self.has_evidence_permission(request)):
            raise PermissionDenied
        try:
            checked = reports.open_evidence(
                report_id=report_id, by=_staff(request), source=audit.source_of(request)
            )
        except Report.DoesNotExist:
            raise Http404 from None
        except sealed.SealBroken:
            checked = None
        context = {
            **self.admin_site.each_context(request),
            "title": f"Evidence of report {report_id}",
            "report_id": report_id,
            "checked": checked,
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/messaging/report/evidence.html", context)

    # Actions

    @admin.action(permissions=["resolve"], description="Claim: I look at the selected reports")
    def claim(self, request: HttpRequest, queryset: QuerySet[Report]) -> HttpResponse | None:
        chosen = list(queryset.values_list("pk", flat=True))
        self._tell(
            request,
            "claimed",
            chosen,
            reports.claim_reports(ids=chosen, by=_staff(request), source=audit.source_of(request)),
        )
        return None

    @admin.action(permissions=["resolve"], description="Release the selected reports for others…")
    def release(self, request: HttpRequest, queryset: QuerySet[Report]) -> HttpResponse | None:
        return self._with_reason(request, queryset, reports.release_reports, "Release", "released")

    @admin.action(permissions=["resolve"], description="Dismiss: nothing to act upon…")
    def dismiss(self, request: HttpRequest, queryset: QuerySet[Report]) -> HttpResponse | None:
        return self._with_reason(request, queryset, reports.dismiss_reports, "Dismiss", "dismissed")

    @admin.action(permissions=["resolve"], description="Resolve: what had to be done is done…")
    def resolve(self, request: HttpRequest, queryset: QuerySet[Report]) -> HttpResponse | None:
        return self._with_reason(request, queryset, reports.resolve_reports, "Resolve", "resolved")

    def _impose(self, kind: Kind, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """On the reported people; that resolves the reports."""
        form = ask_for(kind, self, request, queryset.order_by("made_at"), whom="the people of")
        if isinstance(form, HttpResponse):
            return form
        done = []
        for report in queryset.select_related("reported"):
            try:
                done.append(
                    reports.sanction_reported(
                        report=report,
                        kind=kind,
                        reason=form.cleaned_data["reason"],
                        ends_at=form.ends_at(),
                        by=_staff(request),
                        source=audit.source_of(request),
                    )
                )
            except SanctionRefused as refusal:
                messages.warning(request, f"Report {report.pk} skipped: {refusal}")
        tell(request, kind, done)
        return None

    def _with_reason(
        self,
        request: HttpRequest,
        queryset: QuerySet[Report],
        act: Callable[..., list[Report]],
        verb: str,
        done: str,
    ) -> HttpResponse | None:
        """Asks first, and for the reason; then tells how many it was possible for."""
        form = ask_first(self, request, queryset.order_by("made_at"), ClosingForm, verb=verb)
        if isinstance(form, HttpResponse):
            return form
        chosen = list(queryset.values_list("pk", flat=True))
        reason, source = form.cleaned_data["reason"], audit.source_of(request)
        self._tell(request, done, chosen, act(ids=chosen, by=_staff(request), reason=reason, source=source))
        return None

    def _tell(self, request: HttpRequest, done: str, chosen: list[int], moved: list[Report]) -> None:
        if moved:
            messages.success(request, f"{_count(len(moved))} {done}.")
        if skipped := len(chosen) - len(moved):
            messages.warning(request, f"{_count(skipped)} skipped: not possible from their status.")


def _staff(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _count(count: int) -> str:
    return "1 report" if count == 1 else f"{count} reports"


def age_in_words(age: timedelta) -> str:
    """In the largest unit that says something."""
    hours = int(age.total_seconds() // 3600)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours} h" if hours else f"{max(0, int(age.total_seconds() // 60))} min"
