"""The moderators' queue: what was reported, whether it is proved, and who looks at it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import Case, F, IntegerField, QuerySet, Value, When
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone

from accounts.models import User
from messaging.models import Report, ReportQuerySet
from messaging.services import reports
from securechat import audit, sealed
from securechat.audited_admin import ReadOnlyAdmin

MAX_REASON_CHARACTERS = 500


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


class ReasonForm(forms.Form):
    reason = forms.CharField(
        max_length=MAX_REASON_CHARACTERS,
        widget=forms.Textarea(attrs={"rows": 4, "cols": 60}),
        help_text="Goes into the audit trail with your name. Neither the reporter nor the reported person sees it.",
    )


@admin.register(Report)
class ReportAdmin(ReadOnlyAdmin):
    list_display = ("id", "age", "category", "reported_person", "verified", "status", "assignee")
    list_filter = (QueueFilter, VerifiedFilter, "status", "category")
    list_select_related = ("reported", "assignee")
    list_per_page = 50
    show_facets = admin.ShowFacets.ALLOW
    show_full_result_count = False
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
    actions = ("claim", "release", "dismiss", "resolve")
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
        return _duration(timezone.now() - report.made_at)

    @admin.display(description="reported person", ordering="reported_name")
    def reported_person(self, report: Report) -> str:
        return report.reported_name if report.reported_id else f"{report.reported_name} (account deleted)"

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

    def _with_reason(
        self,
        request: HttpRequest,
        queryset: QuerySet[Report],
        act: Callable[..., list[Report]],
        verb: str,
        done: str,
    ) -> HttpResponse | None:
        """Asks first, and for the reason; then tells how many it was possible for."""
        form = ReasonForm(request.POST if "confirmed" in request.POST else None)
        if form.is_valid():
            chosen = list(queryset.values_list("pk", flat=True))
            moved = act(
                ids=chosen,
                by=_staff(request),
                reason=form.cleaned_data["reason"],
                source=audit.source_of(request),
            )
            self._tell(request, done, chosen, moved)
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb} reports",
            "verb": verb,
            "chosen": queryset.order_by("made_at"),
            "form": form,
            "action": request.POST["action"],
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/messaging/report/confirm_action.html", context)

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


def _duration(age: timedelta) -> str:
    hours = int(age.total_seconds() // 3600)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours} h" if hours else f"{max(0, int(age.total_seconds() // 60))} min"
