"""Contracts: the base class of each kind of component, and the data types that components receive and return."""

API = 1
"""Newest contract version that this release of sslkit accepts."""

OLDEST_API = 1
"""Oldest contract version that this release of sslkit accepts."""
