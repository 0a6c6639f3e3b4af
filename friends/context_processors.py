"""What the navigation bar of every page shows about friends."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from friends.models import Friendship


def waiting(request: HttpRequest) -> dict[str, Any]:
    """``waiting_requests``: how many requests wait for an answer; one query, and only where a template looks."""
    user = getattr(request, "user", None)
    if user is None:
        return {"waiting_requests": 0}

    def count() -> int:
        return Friendship.objects.received_by(user).count() if user.is_authenticated else 0

    return {"waiting_requests": SimpleLazyObject(count)}
