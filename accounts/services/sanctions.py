"""Warning, muting, suspending and banning people, and taking it back. Open sockets feel it within ``SESSION_CHECK``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from math import ceil

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.errors import SanctionRefused, ShutOut
from accounts.models import Sanction, User
from accounts.services import sessions
from securechat import audit

Kind = Sanction.Kind
_PRESSED_TWICE = timedelta(minutes=1)  # An end that is so little later is not a longer one.
_VERBS = {Kind.WARNING: "warn", Kind.MUTE: "mute", Kind.SUSPENSION: "suspend", Kind.BAN: "ban"}


@transaction.atomic
def impose(
    *,
    user: User,
    kind: Kind,
    reason: str,
    by: User | None,
    source: str,
    ends_at: datetime | None = None,
    report: int | None = None,
    now: datetime | None = None,
    dry_run: bool = False,
) -> Sanction:
    """``ends_at`` for a mute and a suspension, and only for them. ``by=None``: a command in a shell.

    With ``BANS_NEED_TWO`` a ban does nothing until another operator has approved it. A dry run is judged, done and taken back.
    Raises ``SanctionRefused``.
    """
    now = now or timezone.now()
    person = User.objects.select_for_update().get(pk=user.pk)
    _require_power(person, by)
    _require_end(kind, ends_at, now)
    if _repeats(person, kind, ends_at, now):
        raise SanctionRefused(f"{person.username} has that already, for as long or longer.")
    sanction = Sanction.objects.create(
        user=person,
        kind=kind,
        reason=reason,
        starts_at=now,
        ends_at=ends_at,
        imposed_by=by,
        report=report,
        needs_approval=kind == Kind.BAN and settings.BANS_NEED_TWO,
    )
    audit.record(
        f"user.{_VERBS[kind]}",
        by=by,
        on=f"user:{person.pk}",
        why=reason,
        source=source,
        after={
            "sanction": sanction.pk,
            "ends_at": ends_at,
            "report": report,
            "waits_for_approval": sanction.needs_approval,
        },
    )
    _take_effect(person, sanction)
    transaction.set_rollback(dry_run)
    return sanction


@transaction.atomic
def approve(*, sanction: Sanction, by: User, why: str, source: str) -> Sanction:
    """Of a ban that waits, by somebody else than who asked for it. Raises ``SanctionRefused``."""
    sanction = _locked(sanction)
    if not sanction.needs_approval or sanction.lifted_at is not None:
        raise SanctionRefused("It does not wait for approval.")
    if sanction.imposed_by_id == by.pk:
        raise SanctionRefused("Somebody else than who asked for a ban has to approve it.")
    _require_power(sanction.user, by)
    sanction.needs_approval = False
    sanction.save(update_fields=["needs_approval"])
    _record("sanction.approve", sanction, by, why, source, {"waits_for_approval": True}, {})
    _take_effect(sanction.user, sanction)
    return sanction


@transaction.atomic
def lift(
    *,
    sanction: Sanction,
    by: User | None,
    why: str,
    source: str,
    now: datetime | None = None,
    dry_run: bool = False,
) -> Sanction:
    """Before its end, or a ban that was not approved. Raises ``SanctionRefused`` for what is over."""
    now = now or timezone.now()
    sanction = _locked(sanction)
    if not (sanction.is_in_force(now) or (sanction.needs_approval and sanction.lifted_at is None)):
        raise SanctionRefused("It is not in force any more.")
    _require_power(sanction.user, by)
    sanction.lifted_at = now
    sanction.save(update_fields=["lifted_at"])
    _record("sanction.lift", sanction, by, why, source, {"status": "in force"}, {"status": "lifted"})
    sessions.tell_changed(sanction.user)
    transaction.set_rollback(dry_run)
    return sanction


def acknowledge(*, user: User, sanction_id: int, now: datetime | None = None) -> bool:
    """The person has read a warning of theirs. Whether there was one to read."""
    warnings = Sanction.objects.in_force(now).filter(user=user, kind=Kind.WARNING, pk=sanction_id)
    return bool(warnings.update(acknowledged_at=now or timezone.now()))


def shown_to(user: User) -> list[Sanction]:
    """What a person who is logged in reads on every page: warnings and a mute."""
    return list(
        Sanction.objects.in_force().filter(user=user, kind__in=(Kind.WARNING, Kind.MUTE)).order_by("pk")
    )


def mutes_of(user_ids: Collection[int]) -> dict[int, Sanction]:
    """The mute of each of these people that lasts longest; those who have none are left out."""
    mutes = Sanction.objects.in_force().filter(user__in=user_ids, kind=Kind.MUTE)
    return {mute.user_id: mute for mute in mutes.order_by("ends_at")}


def require_let_in(user: User, now: datetime | None = None) -> None:
    """For who proved the password: nobody else learns it. Raises ``ShutOut``, which says why, and until when."""
    now = now or timezone.now()
    shut_out = list(Sanction.objects.in_force(now).shutting_out().filter(user=user))
    if not shut_out:
        return
    worst = max(shut_out, key=lambda one: (one.ends_at is None, one.ends_at or now))
    seconds = None if worst.ends_at is None else ceil((worst.ends_at - now).total_seconds())
    raise ShutOut(worst.in_words, retry_after_seconds=seconds)


def _take_effect(user: User, sanction: Sanction) -> None:
    if sanction.is_in_force() and sanction.kind in (Kind.SUSPENSION, Kind.BAN):
        sessions.end_all(User.objects.select_for_update().get(pk=user.pk))
    else:
        sessions.tell_changed(user)


def _require_power(person: User, by: User | None) -> None:
    if by is not None and by.pk == person.pk:
        raise SanctionRefused("Nobody decides about themselves.")
    if person.is_superuser or (person.is_staff and by is not None and not by.is_superuser):
        raise SanctionRefused(f"{person.username} is an operator: take the rights away first.")


def _require_end(kind: Kind, ends_at: datetime | None, now: datetime) -> None:
    if (kind in Sanction.TIMED) != (ends_at is not None):
        raise SanctionRefused("A mute and a suspension need an end, a warning and a ban have none.")
    if ends_at is not None and ends_at <= now:
        raise SanctionRefused("The end has to be in the future.")


def _repeats(person: User, kind: Kind, ends_at: datetime | None, now: datetime) -> bool:
    """Warnings may follow each other. Anything else only for longer than what there is."""
    if kind == Kind.WARNING:
        return False
    same = Sanction.objects.filter(user=person, kind=kind)
    there = [*same.in_force(now), *same.waiting()]
    return any(
        one.ends_at is None or (ends_at is not None and one.ends_at >= ends_at - _PRESSED_TWICE)
        for one in there
    )


def _locked(sanction: Sanction) -> Sanction:
    return Sanction.objects.select_for_update(of=("self",)).select_related("user").get(pk=sanction.pk)


def _record(
    action: str,
    sanction: Sanction,
    by: User | None,
    why: str,
    source: str,
    before: Mapping[str, object],
    after: Mapping[str, object],
) -> None:
    audit.record(
        action,
        by=by,
        on=f"user:{sanction.user_id}",
        why=why,
        source=source,
        before={"sanction": sanction.pk, "kind": sanction.kind, **before},
        after={"sanction": sanction.pk, **after},
    )
