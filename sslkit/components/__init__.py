"""Components: what is installed (never imported to find out), and how one is loaded."""

from sslkit.components.local import register

__all__ = ["register"]
