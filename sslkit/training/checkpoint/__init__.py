"""Checkpoint files: write them, check them, and compare them with what is about to be resumed."""
