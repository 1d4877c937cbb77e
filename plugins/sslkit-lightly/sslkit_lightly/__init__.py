"""Heads and losses for sslkit, based on the lightly library."""
