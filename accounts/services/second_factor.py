"""The operators' second factor: codes of an authenticator app (TOTP), and backup codes for when it is lost.

``django-otp`` keeps them and slows down guessing: after n wrong codes in a row the next counts 2**(n-1) seconds later.
"""

from __future__ import annotations

import re
from datetime import datetime
from math import ceil

import django_otp
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django_otp.models import Device
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.errors import WrongCode
from accounts.models import User
from securechat import audit
from securechat.errors import TooFast

BACKUP_CODES = 10
_SESSION_KEY = "second_factor"


def is_enrolled(user: User) -> bool:
    return bool(TOTPDevice.objects.filter(user=user, confirmed=True).exists())


@transaction.atomic
def begin_enrolment(user: User) -> TOTPDevice:
    """A secret that counts once a code of it was typed; the same one when asked again."""
    User.objects.select_for_update().get(pk=user.pk)
    return TOTPDevice.objects.get_or_create(user=user, confirmed=False, defaults={"name": "authenticator"})[0]


def finish_enrolment(*, user: User, code: str, source: str) -> tuple[TOTPDevice, list[str]]:
    """The device and its backup codes, which are shown this once. Raises ``WrongCode`` and ``TooFast``."""
    pending = TOTPDevice.objects.filter(user=user, confirmed=False).first()
    if pending is None or is_enrolled(user):
        raise WrongCode
    _verify(user, pending, code)
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        if is_enrolled(user):
            raise WrongCode
        TOTPDevice.objects.filter(pk=pending.pk).update(confirmed=True)
        codes = _new_backup_codes(user)
        audit.record("second_factor.enrol", by=user, on=f"user:{user.pk}", source=source)
    return pending, codes


@transaction.atomic
def enrol_from_shell(user: User) -> tuple[TOTPDevice, list[str]]:
    """A new factor in the place of any other; it counts at once."""
    User.objects.select_for_update().get(pk=user.pk)
    remove(user)
    device = TOTPDevice.objects.create(user=user, name="authenticator")
    codes = _new_backup_codes(user)
    audit.record("second_factor.enrol", by=None, on=f"user:{user.pk}", source="command:second_factor")
    return device, codes


@transaction.atomic
def reset(*, user: User, by: User | None, source: str, why: str = "") -> bool:
    """Whether there was one. It counts no more, in no session; they enrol a new one at their next visit."""
    User.objects.select_for_update().get(pk=user.pk)
    was_enrolled = remove(user)
    if was_enrolled:
        audit.record("second_factor.reset", by=by, on=f"user:{user.pk}", why=why, source=source)
    return was_enrolled


def remove(user: User) -> bool:
    """Without a trace: the caller records why. Whether there was one."""
    was_enrolled = is_enrolled(user)
    TOTPDevice.objects.filter(user=user).delete()
    StaticDevice.objects.filter(user=user).delete()
    return was_enrolled


def prove(*, user: User, code: str, source: str) -> Device:
    """Each code counts once. Raises ``WrongCode``, and ``TooFast`` too soon after a wrong one."""
    kind = TOTPDevice if re.fullmatch(r"[0-9]{6}", _tidy(code)) else StaticDevice
    device = kind.objects.filter(user=user, confirmed=True).first()
    if device is None or "\0" in code:  # Which PostgreSQL takes in no question.
        raise WrongCode
    try:
        _verify(user, device, code)
    except WrongCode:
        audit.record("second_factor.refuse", by=user, on=f"user:{user.pk}", source=source)
        raise
    used = "backup code" if kind is StaticDevice else "authenticator"
    audit.record("second_factor.prove", by=user, on=f"user:{user.pk}", source=source, after={"with": used})
    return device


def note_proved(request: HttpRequest, device: Device, *, now: datetime | None = None) -> None:
    """Of this session, from now on for ``ADMIN_SECOND_FACTOR_AGE``."""
    request.session[_SESSION_KEY] = {
        "device": device.persistent_id,
        "at": (now or timezone.now()).timestamp(),
    }


def is_fresh(request: HttpRequest, *, now: datetime | None = None) -> bool:
    """Whether this session proved it lately, with a device that is still this person's."""
    proved = request.session.get(_SESSION_KEY)
    if proved is None:
        return False
    age = (now or timezone.now()).timestamp() - proved["at"]
    if not 0 <= age < settings.ADMIN_SECOND_FACTOR_AGE.total_seconds():
        return False
    device = Device.from_persistent_id(proved["device"])
    return device is not None and device.confirmed and device.user_id == request.user.pk


def backup_codes_left(user: User) -> int:
    return int(StaticToken.objects.filter(device__user=user, device__confirmed=True).count())


def _verify(user: User, device: Device, code: str) -> None:
    allowed, why = device.verify_is_allowed()
    if not allowed:
        wait = why["locked_until"] - timezone.now()
        raise TooFast(retry_after_seconds=max(1, ceil(wait.total_seconds())))
    if django_otp.verify_token(user, device.persistent_id, _tidy(code)) is None:
        raise WrongCode


def _new_backup_codes(user: User) -> list[str]:
    StaticDevice.objects.filter(user=user).delete()
    device = StaticDevice.objects.create(user=user, name="backup codes")
    codes = [StaticToken.random_token() for _ in range(BACKUP_CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=device, token=code) for code in codes)
    return codes


def _tidy(code: str) -> str:
    """As people type it: spaces and case do not matter."""
    return re.sub(r"[\s-]", "", code).lower()
