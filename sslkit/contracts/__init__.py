"""Contracts: the base classes and data types that components of each kind implement and receive."""

API = 1
"""Newest contract version that this release accepts."""

OLDEST_API = 1
"""Oldest contract version that this release accepts."""
