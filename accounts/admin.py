"""People, as operators see them: no password, no key, nothing that a person wrote."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from django.contrib import admin, messages
from django.contrib.auth.models import Permission
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts.errors import DeletionRefused
from accounts.invite_admin import InviteAdmin
from accounts.models import DailySignal, User
from accounts.sanction_admin import SanctionsInline, SanctionsOfPeople, operator_of
from accounts.services import deletion, people, second_factor, sessions
from accounts.services.abuse_signals import KEPT_DAYS, reporters_of, signals_of
from accounts.session_admin import BrowserSessionAdmin, SessionsInline
from securechat import audit
from securechat.audited_admin import AuditedModelAdmin, ReasonForm, ask_first

__all__ = ["BrowserSessionAdmin", "InviteAdmin", "UserAdmin"]

Act: TypeAlias = Callable[..., bool]
"""Does it to ``user`` and says whether that changed anything."""
_RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


class SignalsFilter(admin.SimpleListFilter):
    """Of the last days; what they are is on the person's page."""

    title = "signals"
    parameter_name = "signals"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        counted = [("wrong_passwords", "Wrong passwords"), ("too_fast", "Too fast")]
        return [
            *([("reported", "Reported")] if request.user.has_perm("messaging.view_report") else []),
            *counted,
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        value = self.value()
        if value == "reported":
            reports = User._meta.get_field("reports").related_model
            return queryset.filter(Exists(reports._default_manager.filter(reported=OuterRef("pk"))))
        if value in ("wrong_passwords", "too_fast"):
            return queryset.filter(pk__in=DailySignal.objects.filter(**{f"{value}__gt": 0}).values("user"))
        return queryset


@admin.register(User)
class UserAdmin(SanctionsOfPeople, AuditedModelAdmin):
    """People are made by signing up or by ``manage.py createsuperuser``, never here: here nobody has a password."""

    list_display = ("username", "is_active", "is_staff", "is_superuser", "date_joined", "last_login")
    list_filter = (
        "is_active",
        ("deleted_at", admin.EmptyFieldListFilter),
        SignalsFilter,
        "is_staff",
        "is_superuser",
        "groups",
        ("date_joined", admin.DateFieldListFilter),
    )
    show_facets = admin.ShowFacets.NEVER  # They would count everybody.
    search_fields = ("folded_name",)  # Shows the box; get_search_results answers.
    search_help_text = "The beginning of a name. Other parts of names are not searched."
    ordering = ("-date_joined", "-pk")  # As the index has them: the newest first.
    sortable_by = ("username", "date_joined")
    filter_horizontal = ("groups", "user_permissions")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "username",
                    "is_active",
                    "date_joined",
                    "last_login",
                    "deleted_at",
                    "signals",
                    "reported_by",
                )
            },
        ),
        ("Rights", {"fields": _RIGHTS}),
    )
    inlines = (SanctionsInline, SessionsInline)
    actions = (
        "warn",
        "mute",
        "suspend",
        "ban",
        "activate",
        "deactivate",
        "sign_out",
        "reset_second_factor",
        "delete_account",
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        is_there = obj is None or not obj.is_deleted
        return is_there and super().has_change_permission(request, obj) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request, obj)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Without Django's own deletion, which knows nothing of what friends keep."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        chosen = User.objects.filter(pk=int(object_id) if object_id.isdecimal() else 0)
        if not self.has_delete_permission(request, chosen.first()):
            raise PermissionDenied
        answer = self.delete_account(request, chosen)
        return answer or redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def has_deactivate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.deactivate_user")

    def has_sign_out_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.sign_out_user")

    def has_reset_second_factor_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.reset_second_factor")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """Who could give rights could give them to themselves: only superusers do."""
        rights = () if _is_superuser(request) else _RIGHTS
        own = ("is_active",) if obj is not None and obj.pk == request.user.pk else ()
        return (
            "username",
            "date_joined",
            "last_login",
            "deleted_at",
            "signals",
            "reported_by",
            *rights,
            *own,
        )

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        """How many people reported somebody is for who may see reports."""
        may_see = request.user.has_perm("messaging.view_report")
        return [
            (
                title,
                {
                    **options,
                    "fields": [name for name in options["fields"] if may_see or name != "reported_by"],
                },
            )
            for title, options in self.fieldsets
        ]

    @admin.display(description="signals")
    def signals(self, user: User) -> str:
        """For a person to judge: none of it proves anything, and nothing is done by it."""
        found = signals_of(user)
        return (
            f"In {KEPT_DAYS} days: wrong passwords for this name {found.wrong_passwords}, refused for being too fast "
            f"{found.too_fast}."
        )

    @admin.display(description="reported by")
    def reported_by(self, user: User) -> str:
        count = reporters_of(user)
        return "nobody" if not count else "one person" if count == 1 else f"{count} people"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        if not search_term.strip():
            return queryset, False
        return queryset & User.objects.named_from(search_term.strip()), False

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Each permission is shown with its app: not one question for each."""
        if db_field.name == "user_permissions":
            kwargs["queryset"] = Permission.objects.select_related("content_type")
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: User, form: ModelForm[User], change: bool) -> None:
        super().save_model(request, obj, form, change)
        sessions.tell_changed(obj)

    @admin.action(permissions=["deactivate"], description="Activate: let them log in again…")
    def activate(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        act = partial(people.set_active, is_active=True)
        return self._with_reason(request, queryset, act, verb="Activate", done="activated")

    @admin.action(permissions=["deactivate"], description="Deactivate: end their sessions and keep them out…")
    def deactivate(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        act = partial(people.set_active, is_active=False)
        return self._with_reason(request, queryset, act, verb="Deactivate", done="deactivated")

    @admin.action(permissions=["sign_out"], description="Sign out everywhere…")
    def sign_out(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        return self._with_reason(request, queryset, people.sign_out, verb="Sign out", done="signed out")

    @admin.action(
        permissions=["reset_second_factor"], description="Reset the second factor: they enrol a new one…"
    )
    def reset_second_factor(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        verb, done = "Reset the second factor of", "reset"
        return self._with_reason(request, queryset, second_factor.reset, verb=verb, done=done)

    @admin.action(permissions=["delete"], description="Delete the account…")
    def delete_account(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        """Superusers lose that first; nobody deletes their own account here, as it asks for no password."""
        note = "It cannot be undone. Friends keep their conversations, with the name and the public keys of who is gone."
        form = ask_first(
            self, request, queryset, ReasonForm, verb="Delete", note=note, describe=_what_would_go
        )
        if isinstance(form, HttpResponse):
            return form
        done, by = 0, operator_of(request)
        source, why = audit.source_of(request), form.cleaned_data["reason"]
        for user in queryset.exclude(pk=by.pk):
            try:
                deletion.delete_account(user=user, by=by, source=source, why=why)
                done += 1
            except DeletionRefused as refusal:
                self.message_user(request, f"Skipped: {refusal}", messages.WARNING)
        self.message_user(request, f"{done} deleted.", messages.SUCCESS)
        return None

    def _with_reason(
        self, request: HttpRequest, queryset: QuerySet[User], act: Act, *, verb: str, done: str
    ) -> HttpResponse | None:
        """Asks first. Nobody acts on themselves, and superusers are left to superusers."""
        form = ask_first(self, request, queryset, ReasonForm, verb=verb)
        if isinstance(form, HttpResponse):
            return form
        chosen, by = list(queryset), operator_of(request)
        allowed = [each for each in chosen if _may_touch(request, each) and each.pk != by.pk]
        source, why = audit.source_of(request), form.cleaned_data["reason"]
        changed = [user for user in allowed if act(user=user, by=by, source=source, why=why)]
        for user in changed:
            self.log_change(request, user, f"{done.capitalize()}.")
        left = len(chosen) - len(changed)
        self.message_user(request, f"{len(changed)} {done}, {left} left as they were.", messages.SUCCESS)
        return None


def _is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser


def _may_touch(request: HttpRequest, user: User | None) -> bool:
    """Superusers are left to superusers."""
    return user is None or not user.is_superuser or _is_superuser(request)


def _what_would_go(user: User) -> str:
    """A dry run, in words."""
    try:
        would = deletion.delete_account(user=user, by=None, source="admin", dry_run=True)
    except DeletionRefused as refusal:
        return str(refusal)
    gone = ", ".join(f"{count:,} {what}" for what, count in sorted((+would.removed).items()))
    kept = ", ".join(f"{count:,} {what}" for what, count in sorted((+would.kept).items()))
    return f"goes with {gone or 'nothing else'}" + (f"; left are {kept}" if kept else "") + "."
