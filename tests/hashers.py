"""The project's hasher with a cheap way from a plain password; the mechanism is the same."""

from __future__ import annotations

from accounts.hashers import SecureChatPasswordHasher
from accounts.stretching import Cost


class CheapPasswordHasher(SecureChatPasswordHasher):
    cost = Cost(memory=8, passes=1)
