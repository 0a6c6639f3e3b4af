"""Deleting an account: what goes, and what is left for friends, whose history it is too.

With the account go its keys' boxes, sessions, requests and rights. Where a friend keeps a conversation, the name and the
public key chain are left: without them nobody could tell whose messages these are. The name is not free then. When the
last friend deletes their account too, all of it goes.

Apps above this one hold more of a person, and register it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db import models, transaction
from django.utils import timezone

from accounts.errors import DeletionRefused
from accounts.models import (
    BrowserSession,
    DailySignal,
    Door,
    KeyChainEntry,
    RecoveryCode,
    Sanction,
    User,
    Vault,
)
from accounts.models.user import new_session_stamp
from accounts.services import second_factor, sessions
from securechat import audit


@dataclass
class Deletion:
    """What one deletion did, or would do."""

    user: User
    at: datetime
    removed: Counter[str] = field(default_factory=Counter)
    """Rows by what they are."""
    kept: Counter[str] = field(default_factory=Counter)
    name_stays: bool = False

    def remove(self, what: str, rows: models.QuerySet[Any]) -> None:
        self.removed[what] += rows.count()
        rows.delete()


_steps: list[Callable[[Deletion], None]] = []


def register(step: Callable[[Deletion], None]) -> None:
    """Called in the transaction of each deletion, before the account goes: removes its rows, or counts what is kept."""
    if step not in _steps:
        _steps.append(step)


@transaction.atomic
def delete_account(
    *,
    user: User,
    by: User | None,
    source: str,
    why: str = "",
    dry_run: bool = False,
    now: datetime | None = None,
) -> Deletion:
    """Open sockets are closed. ``by=None``: a command in a shell. A dry run is done, and taken back.

    Raises ``DeletionRefused`` for superusers, and where the account is gone already.
    """
    locked = User.objects.select_for_update().filter(pk=user.pk, deleted_at=None).first()
    if locked is None:
        raise DeletionRefused("This account is deleted already.")
    if locked.is_superuser:
        raise DeletionRefused(
            f"{locked.username} is a superuser. Another superuser has to take that away first."
        )
    deletion = Deletion(locked, now or timezone.now())
    before = {"username": locked.username, "is_staff": locked.is_staff}
    for step in _steps:
        step(deletion)
    _remove_what_is_the_accounts(deletion)
    if deletion.name_stays:
        _leave_name_and_keys(deletion)
    else:
        deletion.removed["key chain entries"] += KeyChainEntry.objects.filter(user=locked).count()
        User.objects.filter(pk=locked.pk).delete()
    audit.record(
        "user.delete",
        by=by,
        on=f"user:{user.pk}",
        why=why,
        source=source,
        before=before,
        after={"removed": dict(+deletion.removed), "kept": dict(deletion.kept)},
    )
    sessions.tell_changed(user)
    transaction.set_rollback(dry_run)
    return deletion


def _remove_what_is_the_accounts(deletion: Deletion) -> None:
    user = deletion.user
    own = BrowserSession.objects.filter(user=user)
    deletion.removed["sessions"] += own.count()
    Session.objects.filter(pk__in=list(own.values_list("session_id", flat=True))).delete()
    deletion.remove("vaults", Vault.objects.filter(user=user))
    deletion.remove("vaults' doors", Door.objects.filter(user=user))
    deletion.remove("recovery codes", RecoveryCode.objects.filter(user=user))
    deletion.remove("daily signals", DailySignal.objects.filter(user=user))
    deletion.remove("sanctions", Sanction.objects.filter(user=user))
    deletion.remove("lines of the admin's log", LogEntry.objects.filter(user=user))
    deletion.removed["second factors"] += second_factor.remove(user)


def _leave_name_and_keys(deletion: Deletion) -> None:
    user = deletion.user
    user.groups.clear()
    user.user_permissions.clear()
    user.set_unusable_password()
    user.legacy_salt, user.session_stamp = "", new_session_stamp()
    user.is_active = user.is_staff = False
    user.last_login, user.deleted_at = None, deletion.at
    user.save()
