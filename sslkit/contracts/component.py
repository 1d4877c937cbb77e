"""What components of every kind have in common."""

from __future__ import annotations

from typing import ClassVar

from sslkit.options import NoOptions
from sslkit.options import Options as BaseOptions


class Component:
    """One named, installable part of a run.

    A subclass states the contract version it was written for (``api = 1``) and, where it has any, its ``Options``.
    It is constructed as ``Class(options, context)`` with its validated options and the runtime
    ``Context``.
    """

    api: ClassVar[int]
    Options: ClassVar[type[BaseOptions]] = NoOptions
    variant_option: ClassVar[str] = ""
    """Of a family of components: the option that ``use = "name:variant"`` sets."""
