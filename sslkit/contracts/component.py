"""What components of every kind have in common."""

from __future__ import annotations

from typing import ClassVar

from sslkit.contracts.options import NoOptions
from sslkit.contracts.options import Options as BaseOptions


class Component:
    """One named, installable part of a run.

    A subclass states the contract version it was written for (``api = 1``) and, where it has any, its ``Options``.
    It is constructed as ``Class(options, context)`` with its validated options and the runtime
    ``Context``.

    What it keeps from step to step goes into checkpoints: ``state_dict`` gives tensors, and ``get_extra_state`` tensors
    and plain values; of backbones and heads, whose weights are written at the end, tensors alone.  Where several
    processes train, the buffers of all modules are those of the first one before each step: write into them what is the
    same in all (``context.world.gather``), nothing that one process alone has seen.
    """

    api: ClassVar[int]
    Options: ClassVar[type[BaseOptions]] = NoOptions
    variant_option: ClassVar[str] = ""
    """Of a family of components: the option that ``use = "name:variant"`` sets."""
