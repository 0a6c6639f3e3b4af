"""What every page shows of one's own account."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.models import User
from accounts.services.sanctions import shown_to


def sanctions(request: HttpRequest) -> dict[str, Any]:
    """``own_sanctions``: what operators imposed on this person; one query, and only where a template looks."""
    user = getattr(request, "user", None)
    return {"own_sanctions": SimpleLazyObject(lambda: shown_to(user) if isinstance(user, User) else [])}
