"""Coverage-guided fuzzing of what reads bytes from phones: see docs/fuzzing.md."""
