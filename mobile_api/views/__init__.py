"""Views by topic: parse, one call of a service or query, render."""
