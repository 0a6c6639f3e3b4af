"""How often a name may be tried, and from one address. What it counts under is in ``securechat.ratelimit``."""

from __future__ import annotations

import ipaddress
from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest

from accounts.models import User
from accounts.names import fold
from securechat import ratelimit

_IPV6_NETWORK_BITS = 64  # What one household gets; within it addresses are free to change.
_LONGEST_KEY = 64


def address_of(request: HttpRequest) -> str:
    """Of the peer as the server sees it; one for a whole IPv6 network."""
    text = str(request.META.get("REMOTE_ADDR", ""))
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, _IPV6_NETWORK_BITS), strict=False))
    return text


def throttle_question(request: HttpRequest) -> None:
    """Log-in parameters: cheap to answer, asked once before each attempt. Raises ``TooFast``, as all of these."""
    _check("accounts.question.address", address_of(request), settings.LOG_IN_ATTEMPTS_PER_ADDRESS)


def throttle_log_in(request: HttpRequest, username: str) -> None:
    """Counts right attempts, too: a wait that only wrong ones get would say which they are."""
    _check("accounts.log_in.address", address_of(request), settings.LOG_IN_ATTEMPTS_PER_ADDRESS)
    _check("accounts.log_in.name", _key_of(username), settings.LOG_IN_ATTEMPTS_PER_NAME)


def throttle_recovery(request: HttpRequest, username: str) -> None:
    _check("accounts.recovery.address", address_of(request), settings.LOG_IN_ATTEMPTS_PER_ADDRESS)
    _check("accounts.recovery.name", _key_of(username), settings.LOG_IN_ATTEMPTS_PER_NAME)


def throttle_proof(user: User) -> None:
    """For who is logged in and has to prove the password again."""
    _check("accounts.proof.user", str(user.pk), settings.LOG_IN_ATTEMPTS_PER_NAME)


def throttle_sign_up(request: HttpRequest) -> None:
    """Also what keeps names from being listed by asking which are taken."""
    limit, window = settings.SIGN_UPS_PER_ADDRESS_AND_HOUR, timedelta(hours=1)
    ratelimit.check("accounts.sign_up.address", address_of(request), limit=limit, window=window)


def _check(scope: str, key: str, limit: int) -> None:
    ratelimit.check(scope, key, limit=limit, window=settings.LOG_IN_WINDOW)


def _key_of(username: str) -> str:
    return fold(username)[:_LONGEST_KEY]
