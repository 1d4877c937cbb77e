"""Deterministic algorithms of torch, with a note for each operation that has none."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sslkit.training.events import Reporter

TORCH_WARNING = re.compile(r"(\S+) does not have a deterministic implementation")
"""Torch's warning; the group is the name of the operation."""


@contextmanager
def deterministic_algorithms(enabled: bool, reporter: Reporter) -> Iterator[None]:
    """Use torch's deterministic algorithms inside a ``with`` block; restore torch's setting afterwards.

    Args:
        enabled: whether to do so; if False, nothing changes.
        reporter: receives a note for each operation that has no deterministic algorithm, once.
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
                    "repeated runs may end in different bits"
                )

        warnings.filterwarnings("always", message=TORCH_WARNING.pattern)
        warnings.showwarning = show
        try:
            torch.use_deterministic_algorithms(True, warn_only=True)
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
