"""Catalog of installed components, and import of a single component."""

from sslkit.components.registration import register

__all__ = ["register"]
