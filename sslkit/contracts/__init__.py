"""Contracts: the base class of each kind of component, and the data types that components receive and return."""

API = 2
"""Newest contract version that this release of sslkit accepts."""

OLDEST_API = 2
"""Oldest contract version that this release of sslkit accepts."""

CHANGES = {
    2: "a loss that compares views declares min_views, a method that reads pixels, tokens or feature maps declares "
    "needs, and then the component sets api = 2"
}
"""What the author of a component changes for a contract version, keyed by version."""
