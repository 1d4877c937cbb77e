"""Heads and losses for sslkit, based on the library lightly."""
