"""Log-ins of operators, right and refused ones, are in the audit trail."""

from __future__ import annotations

from accounts.models import User
from accounts.names import fold
from securechat import audit


def note_log_in(user: User, *, source: str) -> None:
    """Nothing for who is no operator: people's log-ins are their own."""
    if user.is_staff:
        audit.record("operator.log_in", by=user, on=f"user:{user.pk}", source=source)


def note_refused_log_in(username: str, *, source: str) -> None:
    """Of an operator's name. Another name is not kept: it may be a password that was typed in the wrong place."""
    user = User.objects.filter(folded_name=fold(username), is_staff=True).first()
    if user is not None:
        audit.record("operator.refuse_log_in", by=None, on=f"user:{user.pk}", source=source)
