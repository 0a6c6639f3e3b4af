from __future__ import annotations

from messaging.models.conversation import (
    Conversation,
    ConversationQuerySet,
    Envelope,
    EpochRecord,
    Head,
    Side,
)
from messaging.models.report import (
    Evidence,
    InvalidReportTransition,
    Report,
    ReportedMessage,
    ReportedRow,
    ReportQuerySet,
)

__all__ = [
    "Conversation",
    "ConversationQuerySet",
    "Envelope",
    "EpochRecord",
    "Evidence",
    "Head",
    "InvalidReportTransition",
    "Report",
    "ReportQuerySet",
    "ReportedMessage",
    "ReportedRow",
    "Side",
]
