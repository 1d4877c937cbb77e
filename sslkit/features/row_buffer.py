"""Tensor on the CPU that is filled block by block, with few copies from a GPU."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_PENDING_BYTES = 1 << 28
"""Size of the blocks on a GPU that are copied together, because the host waits for the GPU in each copy."""


class RowBuffer:
    """Preallocated tensor that is filled block by block, because concatenating the blocks would need twice the memory.

    Args:
        count: number of rows.

    Attributes:
        added: number of rows of all blocks.
    """

    def __init__(self, count: int) -> None:
        self.count, self.added, self.filled = count, 0, 0
        self.rows: Tensor | None = None
        self.pending: list[Tensor] = []

    def add(self, block: Tensor) -> None:
        """Append a block ``[B, D]``. Blocks stay on a GPU until their total size reaches ``MAX_PENDING_BYTES``."""
        if self.rows is None:
            self.rows = torch.empty(self.count, *block.shape[1:], dtype=block.dtype)
        self.pending.append(block)
        self.added += len(block)
        if block.device.type == "cpu" or sum(part.nbytes for part in self.pending) >= MAX_PENDING_BYTES:
            self._copy()

    def _copy(self) -> None:
        assert self.rows is not None
        for part in self.pending:
            self.rows[self.filled : self.filled + len(part)] = part
            self.filled += len(part)
        self.pending.clear()

    def finish(self) -> Tensor:
        """Copy the remaining blocks and return all rows ``[count, D]`` on the CPU. Requires at least one block."""
        self._copy()
        assert self.rows is not None
        return self.rows
