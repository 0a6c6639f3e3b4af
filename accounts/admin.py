"""People, as operators see them: no password, no key, nothing that a person wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from accounts.models import User
from accounts.services import people, sessions

if TYPE_CHECKING:
    _UserAdmin = admin.ModelAdmin[User]
else:
    _UserAdmin = admin.ModelAdmin

_RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


@admin.register(User)
class UserAdmin(_UserAdmin):
    """People are made by signing up or by ``manage.py createsuperuser``, never here: here nobody has a password."""

    list_display = ("username", "is_active", "is_staff", "is_superuser", "date_joined", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser", "groups")
    search_fields = ("folded_name__startswith",)
    search_help_text = "The beginning of a name"
    ordering = ("folded_name",)
    date_hierarchy = "date_joined"
    filter_horizontal = ("groups", "user_permissions")
    fieldsets = (
        (None, {"fields": ("username", "is_active", "date_joined", "last_login")}),
        ("Rights", {"fields": _RIGHTS}),
    )
    actions = ("activate", "deactivate")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """Who could give rights could give them to themselves: only superusers do."""
        rights = () if _is_superuser(request) else _RIGHTS
        own = ("is_active",) if obj is not None and obj.pk == request.user.pk else ()
        return ("username", "date_joined", "last_login", *rights, *own)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        return super().get_search_results(request, queryset, search_term.lower())

    def save_model(self, request: HttpRequest, obj: User, form: ModelForm[User], change: bool) -> None:
        super().save_model(request, obj, form, change)
        sessions.tell_changed(obj)

    @admin.action(permissions=["change"], description="Activate: let them log in again")
    def activate(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self._set_active(request, queryset, is_active=True)

    @admin.action(permissions=["change"], description="Deactivate: end their sessions and keep them out")
    def deactivate(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self._set_active(request, queryset, is_active=False)

    def _set_active(self, request: HttpRequest, queryset: QuerySet[User], *, is_active: bool) -> None:
        chosen = list(queryset)
        allowed = [user for user in chosen if _may_touch(request, user) and user.pk != request.user.pk]
        changed = [user for user in allowed if people.set_active(user=user, is_active=is_active)]
        word = "activated" if is_active else "deactivated"
        for user in changed:
            self.log_change(request, user, f"{word.capitalize()}.")
        self.message_user(
            request,
            f"{len(changed)} {word}, {len(chosen) - len(changed)} left as they were.",
            messages.SUCCESS,
        )


def _is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser


def _may_touch(request: HttpRequest, user: User | None) -> bool:
    """Superusers are left to superusers."""
    return user is None or not user.is_superuser or _is_superuser(request)
