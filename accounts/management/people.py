"""Whom a command means."""

from __future__ import annotations

from django.core.management.base import CommandError

from accounts.models import User


def person_named(name: str) -> User:
    """Whatever the case. Raises ``CommandError``, also for an account that was deleted."""
    try:
        user = User.objects.get_by_natural_key(name)
    except User.DoesNotExist:
        raise CommandError("There is nobody of that name.") from None
    if user.is_deleted:
        raise CommandError(f"The account {user} was deleted.")
    return user
