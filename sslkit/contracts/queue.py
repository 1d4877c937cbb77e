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
        end: int64 scalar tensor on the device, equal to ``pushed``. A replayed CUDA graph needs this tensor to
            find the next slots.
    """

    rows: Tensor
    index: Tensor
    end: Tensor

    def __init__(self, size: int, shape: tuple[int, ...], world: World) -> None:
        super().__init__()
        self.world = world
        self.pushed = 0
        self.register_buffer("rows", torch.zeros(size, *shape))
        self.register_buffer("index", torch.full((size,), -1))
        self.register_buffer("end", torch.zeros((), dtype=torch.int64), persistent=False)

    @property
    def full(self) -> bool:
        """Whether every slot is used; computed without a device sync."""
        return self.pushed >= len(self.index)

    def newest(self, count: int) -> Tensor:
        """Return the ``count`` newest rows, in unspecified order; ``count`` is at most ``size``."""
        return self.rows if count == len(self.index) else self.rows[self._slots(self.end - count, count)]

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
        slots = self._slots(self.end, count)
        self.rows.index_copy_(0, slots, rows)
        self.index.index_copy_(0, slots, index)
        self.end += count
        self.pushed += count

    def _slots(self, start: Tensor, count: int) -> Tensor:
        """Return the slots of ``count`` consecutively pushed rows, int64 ``[count]``.

        Args:
            start: int64 scalar tensor, number of rows that were pushed before the first of these rows.
            count: number of rows.
        """
        # On the device, because a CUDA graph would reuse the slots of one step in all steps.
        return (start + torch.arange(count, device=start.device)) % len(self.index)

    def get_extra_state(self) -> Tensor:
        """Return the number of pushed rows for the checkpoint."""
        return torch.tensor(self.pushed)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the number of pushed rows from a checkpoint."""
        self.pushed = int(state)
        self.end.fill_(self.pushed)
