"""Components: the catalog of installed components, and the import of a single one."""

from sslkit.components.registration import register

__all__ = ["register"]
