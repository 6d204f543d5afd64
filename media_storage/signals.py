"""What higher layers may listen to. Both are sent inside the transaction that writes what they tell, so
that a receiver's rows commit with it; a receiver that raises rolls back and the work runs again."""

from django.dispatch import Signal

media_shown = Signal()
"""`media` (MediaObject) has its small picture; it is still being processed."""

media_processed = Signal()
"""`media` (MediaObject) became ready or rejected."""
