"""Start of commands without matplotlib, which torchmetrics would import for plots that sslkit does not draw."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from types import ModuleType

MODULE = "torchmetrics.utilities.imports"
"""Module in which torchmetrics, which Lightning imports, records whether matplotlib is installed."""


def skip_matplotlib() -> None:
    """Let torchmetrics be imported as without matplotlib: that takes up to seconds, and may warn about fonts."""
    sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finder of this module only."""

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
