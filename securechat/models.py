"""Where Django looks for the project's own rows."""

from securechat.audit import AuditEvent
from securechat.pulse import DailyCount, ServerProcess

__all__ = ["AuditEvent", "DailyCount", "ServerProcess"]
