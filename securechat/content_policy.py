"""The Content-Security-Policy of each answer: the settings' own, and what depends on the build or the page."""

from __future__ import annotations

import contextlib
from typing import Any

from csp.middleware import CSPMiddleware
from django.http import HttpRequest, HttpResponseBase

from securechat import assets

INTEGRITY_POLICY = "blocked-destinations=(script)"


class ContentPolicyMiddleware(CSPMiddleware):  # type: ignore[misc]  # django-csp has no types that mypy follows.
    """Lets the import map through, and spares Django's own admin pages what its scripts cannot keep."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> Any:
        parts = super().get_policy_parts(request, response, report_only)
        with contextlib.suppress(
            assets.BuildMissing
        ):  # No page has an import map then, only the error's own.
            parts.update = {"script-src": [assets.import_map_source()]}
        if _is_django_admin(request):
            parts.replace = {"require-trusted-types-for": None, "trusted-types": None}
        return parts

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not _is_django_admin(request):
            response.headers["Integrity-Policy"] = INTEGRITY_POLICY
        answer: HttpResponseBase = super().process_response(request, response)
        return answer


def _is_django_admin(request: HttpRequest) -> bool:
    """Its log-in is a page of ours."""
    match = request.resolver_match
    return match is not None and match.app_name == "admin" and match.url_name != "login"
