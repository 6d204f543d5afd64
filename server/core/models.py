"""The models of core: the change feed and the schedule of periodic work."""

from server.core.changes import Change
from server.core.schedule import Schedule

__all__ = ["Change", "Schedule"]
