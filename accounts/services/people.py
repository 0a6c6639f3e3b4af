"""What operators do with people. A suspension ends sessions at once: each page, request and socket asks again."""

from __future__ import annotations

from django.db import transaction

from accounts.errors import SessionNotFound
from accounts.models import BrowserSession, User
from accounts.services import sessions
from securechat import audit


@transaction.atomic
def set_active(*, user: User, is_active: bool, by: User, source: str, why: str = "") -> bool:
    """Whether that changed anything."""
    changed = (
        User.objects.filter(pk=user.pk, deleted_at=None)
        .exclude(is_active=is_active)
        .update(is_active=is_active)
    )
    if changed:
        sessions.tell_changed(user)
        audit.record(
            "user.activate" if is_active else "user.deactivate",
            by=by,
            on=f"user:{user.pk}",
            why=why,
            source=source,
            before={"is_active": not is_active},
            after={"is_active": is_active},
        )
    return bool(changed)


@transaction.atomic
def sign_out(*, user: User, by: User | None, source: str, why: str = "") -> bool:
    """Everywhere. Always true: also a session that nobody knows of has ended."""
    sessions.end_all(User.objects.select_for_update().get(pk=user.pk))
    audit.record("user.sign_out", by=by, on=f"user:{user.pk}", why=why, source=source)
    return True


@transaction.atomic
def revoke_session(*, session: BrowserSession, by: User, source: str, why: str) -> None:
    """One session of somebody else. Raises ``SessionNotFound``, also for a superuser's unless ``by`` is one."""
    user = User.objects.select_for_update().get(pk=session.user_id)
    if user.pk == by.pk or (user.is_superuser and not by.is_superuser):
        raise SessionNotFound
    sessions.end(user=user, session=session.pk)
    audit.record(
        "session.revoke",
        by=by,
        on=f"user:{user.pk}",
        why=why,
        source=source,
        before={"session": str(session.pk)},
    )
