"""Making, using and revoking invitations to sign up (``SIGN_UP=invite``)."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts.errors import InviteRefused, SignUpClosed
from accounts.models import Invite, User
from securechat import audit

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: none that is taken for another.
_CHARACTERS, _GROUP = 16, 4  # 80 bits: nobody guesses one.
MOST_USES, MOST_DAYS = 10_000, 365


@transaction.atomic
def make(
    *, uses: int, days: int, note: str, by: User | None, source: str, now: datetime | None = None
) -> tuple[Invite, str]:
    """And its code, which is shown this once. Raises ``ValueError`` for uses or days that are none."""
    if not (1 <= uses <= MOST_USES and 1 <= days <= MOST_DAYS):
        raise ValueError(f"An invite is for 1 to {MOST_USES:,} accounts and 1 to {MOST_DAYS} days.")
    now = now or timezone.now()
    code = "".join(secrets.choice(_ALPHABET) for _ in range(_CHARACTERS))
    invite = Invite.objects.create(
        code_hash=_hash(code),
        note=note[:200],
        uses=uses,
        uses_left=uses,
        made_at=now,
        expires_at=now + timedelta(days=days),
        made_by=by,
    )
    after = {"uses": uses, "expires_at": invite.expires_at, "note": invite.note}
    audit.record("invite.make", by=by, on=f"invite:{invite.pk}", source=source, after=after)
    return invite, "-".join(code[at : at + _GROUP] for at in range(0, _CHARACTERS, _GROUP))


def require_may_sign_up(code: str | None) -> None:
    """Takes one use where invites are needed, in the caller's transaction: of two at once for the last, one is refused.

    Raises ``SignUpClosed`` or ``InviteRefused``.
    """
    if settings.SIGN_UP == "open":
        return
    if settings.SIGN_UP == "closed":
        raise SignUpClosed
    usable = Invite.objects.usable().filter(code_hash=_hash(code or ""))
    if not usable.update(uses_left=F("uses_left") - 1):
        raise InviteRefused


@transaction.atomic
def revoke(*, invite: Invite, by: User | None, source: str, why: str = "") -> bool:
    """Nobody signs up with it any more; who did stays. Whether that changed anything."""
    changed = Invite.objects.usable().filter(pk=invite.pk).update(revoked_at=timezone.now())
    if changed:
        audit.record("invite.revoke", by=by, on=f"invite:{invite.pk}", why=why, source=source)
    return bool(changed)


def _hash(code: str) -> bytes:
    """As people type it: case, spaces and hyphens do not matter."""
    tidy = "".join(character for character in code.upper() if character.isalnum())
    return hashlib.sha256(b"securechat/invite\0" + tidy.encode()).digest()
