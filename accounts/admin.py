"""People, as operators see them: no password, no key, nothing that a person wrote."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from accounts.models import User
from accounts.services import people, second_factor, sessions
from securechat import audit
from securechat.audited_admin import AuditedModelAdmin

_RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


@admin.register(User)
class UserAdmin(AuditedModelAdmin):
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
    actions = ("activate", "deactivate", "sign_out", "reset_second_factor")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request, obj)

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
        return ("username", "date_joined", "last_login", *rights, *own)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        return super().get_search_results(request, queryset, search_term.lower())

    def save_model(self, request: HttpRequest, obj: User, form: ModelForm[User], change: bool) -> None:
        super().save_model(request, obj, form, change)
        sessions.tell_changed(obj)

    @admin.action(permissions=["deactivate"], description="Activate: let them log in again")
    def activate(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self._set_active(request, queryset, is_active=True)

    @admin.action(permissions=["deactivate"], description="Deactivate: end their sessions and keep them out")
    def deactivate(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self._set_active(request, queryset, is_active=False)

    @admin.action(permissions=["sign_out"], description="Sign out everywhere")
    def sign_out(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        chosen, allowed = self._allowed(request, queryset)
        for user in allowed:
            people.sign_out(user=user, by=_operator(request), source=audit.source_of(request))
            self.log_change(request, user, "Signed out everywhere.")
        self._tell(request, "signed out", len(allowed), len(chosen))

    @admin.action(
        permissions=["reset_second_factor"], description="Reset the second factor: they enrol a new one"
    )
    def reset_second_factor(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        chosen, allowed = self._allowed(request, queryset)
        source = audit.source_of(request)
        reset = [
            user for user in allowed if second_factor.reset(user=user, by=_operator(request), source=source)
        ]
        for user in reset:
            self.log_change(request, user, "Second factor reset.")
        self._tell(request, "reset", len(reset), len(chosen))

    def _set_active(self, request: HttpRequest, queryset: QuerySet[User], *, is_active: bool) -> None:
        chosen, allowed = self._allowed(request, queryset)
        by, source = _operator(request), audit.source_of(request)
        changed = [
            user
            for user in allowed
            if people.set_active(user=user, is_active=is_active, by=by, source=source)
        ]
        word = "activated" if is_active else "deactivated"
        for user in changed:
            self.log_change(request, user, f"{word.capitalize()}.")
        self._tell(request, word, len(changed), len(chosen))

    def _allowed(self, request: HttpRequest, queryset: QuerySet[User]) -> tuple[list[User], list[User]]:
        """The chosen people, and those of them whom this operator may touch. Nobody acts on themselves."""
        chosen = list(queryset)
        return chosen, [each for each in chosen if _may_touch(request, each) and each.pk != request.user.pk]

    def _tell(self, request: HttpRequest, done: str, count: int, chosen: int) -> None:
        self.message_user(request, f"{count} {done}, {chosen - count} left as they were.", messages.SUCCESS)


def _operator(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser


def _may_touch(request: HttpRequest, user: User | None) -> bool:
    """Superusers are left to superusers."""
    return user is None or not user.is_superuser or _is_superuser(request)
