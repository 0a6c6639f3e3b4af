"""What operators do with people. A suspension ends sessions at once: each page, request and socket asks again."""

from __future__ import annotations

from django.db import transaction

from accounts.models import User
from accounts.services import sessions


@transaction.atomic
def set_active(*, user: User, is_active: bool) -> bool:
    """Whether that changed anything."""
    changed = User.objects.filter(pk=user.pk).exclude(is_active=is_active).update(is_active=is_active)
    if changed:
        sessions.tell_changed(user)
    return bool(changed)
