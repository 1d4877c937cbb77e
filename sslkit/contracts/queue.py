"""Queue of past embeddings, for losses that compare a batch with earlier batches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sslkit.contracts.context import World


class Queue(nn.Module):
    """Ring buffer with the newest rows, such as embeddings, of past global batches.

    The queue has the same contents in all processes. Checkpoints contain the queue as part of the module that owns it.

    Example, in the ``forward`` of a loss::

        if self.queue.full:
            logits = embedding @ self.queue.rows.T
        self.queue.push(embedding, views.index)

    Args:
        size: capacity in rows.
        shape: shape of one row, such as ``(E,)``.
        world: the processes of the training run.

    Attributes:
        rows: float32 tensor ``[size, *shape]``; 0 in unused slots.
        index: int64 tensor ``[size]``, the index of each row's image in the training set; -1 in unused slots.
        pushed: int, number of rows pushed so far, including rows that were replaced.
    """

    rows: Tensor
    index: Tensor

    def __init__(self, size: int, shape: tuple[int, ...], world: World) -> None:
        super().__init__()
        self.world = world
        self.pushed = 0
        self.register_buffer("rows", torch.zeros(size, *shape))
        self.register_buffer("index", torch.full((size,), -1))

    @property
    def full(self) -> bool:
        """Whether every slot is used; computed without a device sync."""
        return self.pushed >= len(self.index)

    def newest(self, count: int) -> Tensor:
        """Return the ``count`` newest rows, in unspecified order; ``count`` is at most ``size``."""
        size = len(self.index)
        if count == size:
            return self.rows
        end = self.pushed % size
        start = end - count
        return self.rows[start:end] if start >= 0 else torch.cat([self.rows[start + size :], self.rows[:end]])

    @torch.no_grad()
    def push(self, rows: Tensor, index: Tensor) -> None:
        """Replace the oldest rows with the rows of the global batch. All processes must call this method.

        Args:
            rows: this process's rows ``[B, *shape]``.
            index: int64 tensor ``[B]``, the index of each row's image in the training set.

        Raises:
            ValueError: the global batch is larger than the queue.
        """
        rows, index = self.world.gather(rows.detach().to(self.rows.dtype)), self.world.gather(index)
        size, count = len(self.index), len(index)
        if count > size:
            raise ValueError(f"{count} rows do not fit into a queue of {size}")
        start = self.pushed % size
        first = min(count, size - start)
        for buffer, new in ((self.rows, rows), (self.index, index)):
            buffer[start : start + first] = new[:first]
            buffer[: count - first] = new[first:]
        self.pushed += count

    def get_extra_state(self) -> Tensor:
        """Return the number of pushed rows for the checkpoint."""
        return torch.tensor(self.pushed)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the number of pushed rows from a checkpoint."""
        self.pushed = int(state)
