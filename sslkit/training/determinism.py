"""Enable PyTorch's deterministic algorithms and report operations that have none."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sslkit.training.events import Reporter

TORCH_WARNING = re.compile(r"(\S+) does not have a deterministic implementation")
"""PyTorch's warning; the group is the name of the operation."""


@contextmanager
def deterministic_algorithms(enabled: bool, reporter: Reporter) -> Iterator[None]:
    """Use PyTorch's deterministic algorithms inside a ``with`` block; restore the previous setting on exit.

    Args:
        enabled: if False, the context manager does nothing.
        reporter: receives one note for each operation without a deterministic algorithm.
    """
    if not enabled:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    reported: set[str] = set()
    with warnings.catch_warnings():
        original: Any = warnings.showwarning

        def show(message: Warning | str, *args: Any, **kwargs: Any) -> None:
            match = TORCH_WARNING.match(str(message))
            if not match:
                original(message, *args, **kwargs)
            elif match[1] not in reported:
                reported.add(match[1])
                reporter.note(
                    f"warning: run.deterministic: {match[1]} has no deterministic implementation on this device: "
                    "repeated runs may have different results"
                )

        warnings.filterwarnings("always", message=TORCH_WARNING.pattern)
        warnings.showwarning = show
        try:
            torch.use_deterministic_algorithms(True, warn_only=True)
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
