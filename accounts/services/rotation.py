"""Accounts' columns under the newest keys."""

from __future__ import annotations

from django.db.models import Q

from accounts.hashers import LegacyPasswordHasher, SecureChatPasswordHasher
from accounts.models import Door, KeyChainEntry, User, Vault
from securechat import sealed
from securechat.key_rotation import Progress, Walk, reseal


def rotate_seals(how: Walk) -> list[Progress]:
    """Every key-chain entry, vault and door is opened, those under an older key are sealed again."""
    return [
        reseal(
            KeyChainEntry.objects.all(),
            "sealed_entry",
            lambda row: (row.entry, KeyChainEntry.purpose(row.user_id, row.seq)),
            how,
        ),
        reseal(Vault.objects.all(), "sealed_box", lambda row: (row.box, Vault.purpose(row.user_id)), how),
        reseal(
            Door.objects.all(),
            "sealed_content",
            lambda row: (row.content, Door.purpose(row.user_id, row.kind)),
            how,
        ),
    ]


def count_hashes_of_older_peppers() -> int:
    """A hash follows a new pepper at its person's next log-in; nobody can do it before."""
    newest = sealed.key_ring().newest("pepper").id
    hashes = User.objects.filter(_hashed_by(SecureChatPasswordHasher) | _hashed_by(LegacyPasswordHasher))
    return hashes.exclude(_hashed_by(SecureChatPasswordHasher, newest) | _hashed_by(LegacyPasswordHasher, newest)).count()


def _hashed_by(hasher: type[SecureChatPasswordHasher], pepper_id: int | None = None) -> Q:
    prefix = f"{hasher.algorithm}$" if pepper_id is None else f"{hasher.algorithm}${pepper_id}$"
    return Q(password__startswith=prefix)
