"""What higher layers may listen to."""

from django.dispatch import Signal

media_processed = Signal()
"""`media` (MediaObject) became ready or rejected. Sent inside the transaction that writes it, so that
a receiver's rows commit with it; a receiver that raises rolls back and the work runs again."""
