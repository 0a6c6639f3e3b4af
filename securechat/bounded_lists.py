"""Lists of the admin that stay quick, however many rows there are: none is counted, paged or acted on without an end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.functional import cached_property

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
    _Paginator = Paginator[Any]
else:
    _ModelAdmin = admin.ModelAdmin
    _Paginator = Paginator


class BoundedPaginator(_Paginator):
    """Counts and pages the first ``ADMIN_LIST_ROWS`` rows: to count a million takes longer than the page may."""

    @cached_property
    def count(self) -> int:
        return min(self._counted, settings.ADMIN_LIST_ROWS)

    @property
    def is_cut(self) -> bool:
        """There are more rows than pages show."""
        return self._counted > settings.ADMIN_LIST_ROWS

    @cached_property
    def _counted(self) -> int:
        rows = self.object_list
        assert isinstance(rows, QuerySet)
        return rows.order_by()[: settings.ADMIN_LIST_ROWS + 1].count()


class BoundedAdmin(_ModelAdmin):
    paginator = BoundedPaginator
    show_full_result_count = False

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *more: Any
    ) -> HttpResponse | None:
        """Nothing is done to more rows than the page that asks can name."""
        across = request.POST.get("select_across", "0") != "0"
        if (
            across
            and queryset.order_by()[: settings.ADMIN_ACTION_ROWS + 1].count() > settings.ADMIN_ACTION_ROWS
        ):
            messages.error(request, f"Choose at most {settings.ADMIN_ACTION_ROWS} at once. Nothing was done.")
            return None
        return super().response_action(request, queryset, *more)
