"""The models of core: the audit log, the change feed and the schedule of periodic work."""

from server.core.audit import AuditEntry
from server.core.changes import Change
from server.core.schedule import Schedule

__all__ = ["AuditEntry", "Change", "Schedule"]
