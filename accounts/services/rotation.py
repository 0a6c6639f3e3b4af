"""Accounts' columns under the newest keys."""

from __future__ import annotations

from django.contrib.auth.hashers import identify_hasher
from django.db.models import Q

from accounts.hashers import LegacyPasswordHasher, SecureChatPasswordHasher
from accounts.models import BrowserSession, Door, KeyChainEntry, User, Vault
from securechat import sealed
from securechat.key_rotation import Progress, Walk, reseal


def rotate_seals(how: Walk) -> list[Progress]:
    """Every key-chain entry, vault, door and session is opened; those under an older key are sealed again."""
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
        reseal(
            BrowserSession.objects.all(),
            "sealed_details",
            lambda row: (row.encoded_details, row.purpose),
            how,
        ),
    ]


def find_pepper_of(user: User) -> sealed.Key | None:
    """The pepper of this person's hash, none without a hash. Raises ``SealBroken`` when it is not in the ring."""
    ring = sealed.key_ring()
    if not user.has_usable_password():
        return None
    pepper = ring.by_id("pepper", int(identify_hasher(user.password).decode(user.password)["pepper_id"]))
    if pepper is None:
        raise sealed.SealBroken
    return pepper


def count_hashes_of_older_peppers() -> int:
    """A hash follows a new pepper at its person's next log-in; nobody else can do it."""
    newest = sealed.key_ring().newest("pepper").id
    hashers = (SecureChatPasswordHasher, LegacyPasswordHasher)
    hashed, by_newest = Q(), Q()
    for hasher in hashers:
        hashed |= Q(password__startswith=f"{hasher.algorithm}$")
        by_newest |= Q(password__startswith=f"{hasher.algorithm}${newest}$")
    return User.objects.filter(hashed).exclude(by_newest).count()
