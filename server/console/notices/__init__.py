"""Writing notices, and their receipts, in the console."""
