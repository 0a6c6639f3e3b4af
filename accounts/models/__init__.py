from __future__ import annotations

from accounts.models.browser_session import BrowserSession
from accounts.models.daily_signal import DailySignal
from accounts.models.invite import Invite, InviteQuerySet
from accounts.models.key_chain import KeyChainEntry
from accounts.models.sanction import Sanction, SanctionQuerySet
from accounts.models.user import User
from accounts.models.vault import Door, RecoveryCode, Vault

__all__ = [
    "BrowserSession",
    "DailySignal",
    "Door",
    "Invite",
    "InviteQuerySet",
    "KeyChainEntry",
    "RecoveryCode",
    "Sanction",
    "SanctionQuerySet",
    "User",
    "Vault",
]
