"""What people were reminded of, so that nobody is reminded twice."""

from __future__ import annotations

from django.db import models

from server.core.ids import new_id


class Reminder(models.Model):
    """A reminder that went out: of which event, about what, for which day and stage.

    The day is the deadline as it was: a deadline that moves is reminded of anew.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    event = models.CharField(max_length=48)
    subject_id = models.UUIDField()
    day = models.DateField()
    stage = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["subject_id", "event", "day", "stage"], name="reminder_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.subject_id} {self.day} {self.stage}"
