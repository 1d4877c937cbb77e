"""Prevent torchmetrics from importing matplotlib, so that commands start faster."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from types import ModuleType

MODULE = "torchmetrics.utilities.imports"
"""Module of torchmetrics that records whether matplotlib is installed. Lightning imports torchmetrics."""


def skip_matplotlib() -> None:
    """Make torchmetrics skip matplotlib, whose import can take seconds and can print font warnings."""
    sys.meta_path.insert(0, _Finder())


class _Finder:
    """Import finder that loads torchmetrics' module ``MODULE`` as if matplotlib were not installed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        found = PathFinder.find_spec(name, path) if name == MODULE else None
        if found is None or found.origin is None:
            return None
        return spec_from_file_location(name, found.origin, loader=_Loader(name, found.origin))


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        vars(module).update(_MATPLOTLIB_AVAILABLE=False, _SCIENCEPLOT_AVAILABLE=False)
