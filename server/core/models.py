"""The models of core: the audit log, the change feed, who follows it, the schedule of periodic work."""

from server.core.audit import AuditEntry
from server.core.changes import Change
from server.core.following import FeedPlace
from server.core.schedule import Schedule

__all__ = ["AuditEntry", "Change", "FeedPlace", "Schedule"]
