"""Carrying over what the first version kept: people with their old passwords, and friendships."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from accounts.services import legacy
from friends.first_version import STATUSES, OldFriendship, Plan, Status
from friends.models import Friendship
from friends.services.rows import lock_index_key
from securechat import audit

_NAMES_AT_ONCE = 500


def people_named(folded_names: Collection[str]) -> dict[str, User]:
    """Everybody here who has one of these names, also who may not log in."""
    names = sorted(folded_names)
    return {
        user.folded_name: user
        for start in range(0, len(names), _NAMES_AT_ONCE)
        for user in User.objects.filter(folded_name__in=names[start : start + _NAMES_AT_ONCE])
    }


def carry_over(
    plan: Plan, *, source: str, progress: Callable[[int], None], now: datetime | None = None
) -> None:
    """All of it or nothing; an empty plan changes nothing. Raises ``UsernameTaken`` when somebody signed up meanwhile.

    ``progress`` is told how many passwords are stretched, a quarter of a second each; nothing is locked meanwhile.
    """
    people = []
    for person in plan.people:
        people.append(legacy.prepare_person(**person._asdict()))
        progress(len(people))
    if people or plan.friendships:
        _store(people, plan, source, now or timezone.now())


@transaction.atomic
def _store(people: Collection[User], plan: Plan, source: str, now: datetime) -> None:
    lock_index_key(alone=False)
    for user in people:
        legacy.store_person(user)
    names = {name for friendship in plan.friendships for name in friendship[:2]}
    by_name = people_named(names)
    for friendship in plan.friendships:
        _friendship(friendship, by_name, now).save(force_insert=True)
    carried = {"people": len(people), **{status.value: plan.count(status) for status in STATUSES}}
    audit.record("first_version.import", by=None, source=source, after=carried)


def _friendship(old: OldFriendship, by_name: dict[str, User], now: datetime) -> Friendship:
    """By the steps that people take; the first version kept no times, so all of it is from now."""
    friendship = Friendship.asked(sender=by_name[old.sender], friend=by_name[old.friend], now=now)
    if old.status == Status.APPROVE:
        friendship.accept(now=now)
    elif old.status == Status.REJECT:
        friendship.reject(now=now)
    return friendship
