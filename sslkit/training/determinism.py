"""What cannot be deterministic is said, once for each operation; torch's switch is put back after the training."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sslkit.training.events import Reporter

REMARK = re.compile(r"(\S+) does not have a deterministic implementation")
"""Torch's warning."""


@contextmanager
def deterministic(wanted: bool, reporter: Reporter) -> Iterator[None]:
    """Within it, torch uses deterministic algorithms where it has them, if that is wanted.

    Args:
        wanted: whether the recipe asks for it.
        reporter: is told of operations that have none.
    """
    if not wanted:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    told: set[str] = set()
    with warnings.catch_warnings():
        show: Any = warnings.showwarning

        def tell(message: Warning | str, *args: Any, **kwargs: Any) -> None:
            found = REMARK.match(str(message))
            if not found:
                show(message, *args, **kwargs)
            elif found[1] not in told:
                told.add(found[1])
                reporter.note(
                    f"warning: run.deterministic: {found[1]} has no deterministic implementation on this device: "
                    "repetitions may end in other bits"
                )

        warnings.filterwarnings("always", message=REMARK.pattern)
        warnings.showwarning = tell
        try:
            torch.use_deterministic_algorithms(True, warn_only=True)
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
