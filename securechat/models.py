"""Where Django looks for the project's own rows."""

from securechat.audit import AuditEvent

__all__ = ["AuditEvent"]
