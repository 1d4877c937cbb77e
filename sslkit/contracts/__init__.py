"""What a component of each kind promises: one file per kind, plus what they share."""

API = 1
"""The contract version that this release of sslkit implements."""

OLDEST_API = 1
"""The oldest contract version that this release still accepts."""
