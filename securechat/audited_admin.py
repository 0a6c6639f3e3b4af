"""What every admin of a model does: each change that an operator makes with Django's own forms is in the audit trail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models, transaction
from django.forms import BaseFormSet, ModelForm
from django.http import HttpRequest
from django.template.response import TemplateResponse

from securechat import audit
from securechat.bounded_lists import BoundedAdmin


class ReasonForm(forms.Form):
    """Asked before an action: nothing of weight is done to anybody without saying why."""

    reason = forms.CharField(
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 4, "cols": 60}),
        help_text="Goes into the audit trail with your name.",
    )


_Form = TypeVar("_Form", bound=forms.Form)


def ask_first(
    model_admin: admin.ModelAdmin[Any],
    request: HttpRequest,
    queryset: models.QuerySet[Any],
    form_class: type[_Form],
    *,
    verb: str,
    whom: str = "",
    note: str = "",
    describe: Callable[[Any], str] = lambda row: "",
) -> _Form | TemplateResponse:
    """The filled-in form of an action that was confirmed, or the page that asks: answer with it.

    It asks "``verb`` ``whom`` 2 reports?", and then says ``note``, and of each row what ``describe`` says.
    """
    form = form_class(request.POST if "confirmed" in request.POST else None)
    if form.is_valid():
        return form
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"{verb} {whom} {model_admin.opts.verbose_name_plural}".replace("  ", " "),
        "verb": verb,
        "whom": whom,
        "note": note,
        "chosen": [(row, describe(row)) for row in queryset],
        "form": form,
        "action": request.POST.get("action", ""),
        "action_checkbox_name": ACTION_CHECKBOX_NAME,
        "opts": model_admin.opts,
    }
    return TemplateResponse(request, "admin/confirm_action.html", context)


class AuditedModelAdmin(BoundedAdmin):
    """Actions of its own record for themselves, or call a service that does."""

    def audit_name(self, row: models.Model) -> str:
        return f"{self.opts.model_name}:{row.pk}"

    def save_related(
        self, request: HttpRequest, form: ModelForm[Any], formsets: list[BaseFormSet[Any]], change: bool
    ) -> None:
        """Called when everything of the form is stored, in its transaction."""
        super().save_related(request, form, formsets, change)
        before = {name: form.initial.get(name) for name in form.changed_data}
        after = {name: form.cleaned_data.get(name) for name in form.changed_data}
        for formset in formsets:
            _add_rows_of(formset, before, after)
        if change and not after and not before:
            return
        on = self.audit_name(form.instance)
        self._record(request, on, "change" if change else "add", before if change else None, after)

    def delete_model(self, request: HttpRequest, obj: models.Model) -> None:
        on, name = self.audit_name(obj), str(obj)
        super().delete_model(request, obj)
        self._record(request, on, "delete", {"name": name}, None)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        rows = list(queryset)
        super().delete_queryset(request, queryset)
        for row in rows:
            self._record(request, self.audit_name(row), "delete", {"name": str(row)}, None)

    def _record(
        self,
        request: HttpRequest,
        on: str,
        verb: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        assert isinstance(request.user, AbstractBaseUser)
        audit.record(
            f"{self.opts.model_name}.{verb}",
            by=request.user,
            on=on,
            source=audit.source_of(request),
            before=None if before is None else {name: _plain(value) for name, value in before.items()},
            after=None if after is None else {name: _plain(value) for name, value in after.items()},
        )


class ReadOnlyAdmin(BoundedAdmin):
    """Rows that nobody makes, changes or removes here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


def _add_rows_of(formset: BaseFormSet[Any], before: dict[str, Any], after: dict[str, Any]) -> None:
    """Of an inline: which rows were removed, and which are new or changed."""
    name = str(getattr(formset, "prefix", "rows"))
    removed = list(getattr(formset, "deleted_objects", []))
    changed = [row for row, _ in getattr(formset, "changed_objects", [])]
    stored = [*getattr(formset, "new_objects", []), *changed]
    if removed:
        before[name] = removed
    if stored:
        after[name] = stored


def _plain(value: Any) -> Any:
    """As JSON can hold it; rows by their names."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list | tuple | set | models.QuerySet):
        return sorted(str(each) for each in value)
    return str(value)
