"""What a provider gave us to send a delivery with, so that it knows a repetition."""

from __future__ import annotations

from django.db import models

from server.messaging.models.notices import Delivery


class Ticket(models.Model):
    """Kept before it is used: a worker that dies in between leaves it to the next. JPush's cid."""

    delivery = models.OneToOneField(
        Delivery, models.CASCADE, primary_key=True, related_name="ticket"
    )
    text = models.CharField(max_length=200)
    taken_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.text
