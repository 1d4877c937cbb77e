"""A queue of past embeddings, for losses that compare a batch with more than itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sslkit.contracts.context import World


class Queue(nn.Module):
    """The newest rows of the global batches, oldest replaced first.

    The same on every process, and saved with the module that owns it, so that a resumed run continues with it.  How
    much it holds is known to the host: asking never waits for the device.

    Args:
        size: rows kept.
        shape: shape of one row, such as ``(E,)``.
        world: the processes that train together.

    Attributes:
        rows: ``[size, *shape]`` float32; zero where nothing has been pushed yet.
        index: ``[size]`` int64, the images' places in the training set; -1 where nothing has been pushed yet.
    """

    rows: Tensor
    index: Tensor

    def __init__(self, size: int, shape: tuple[int, ...], world: World) -> None:
        super().__init__()
        self.world = world
        self.pushed = 0
        """Rows pushed so far, replaced ones included."""
        self.register_buffer("rows", torch.zeros(size, *shape))
        self.register_buffer("index", torch.full((size,), -1))

    @property
    def full(self) -> bool:
        """Whether every row has been pushed."""
        return self.pushed >= len(self.index)

    @torch.no_grad()
    def push(self, rows: Tensor, index: Tensor) -> None:
        """Add this process's rows ``[B, *shape]`` and their images' places ``[B]``; collective.

        Raises:
            ValueError: the global batch is larger than the queue.
        """
        rows, index = self.world.gather(rows.detach().to(self.rows.dtype)), self.world.gather(index)
        size, count = len(self.index), len(index)
        if count > size:
            raise ValueError(f"{count} rows do not fit into a queue of {size}")
        start = self.pushed % size
        first = min(count, size - start)
        for kept, new in ((self.rows, rows), (self.index, index)):
            kept[start : start + first] = new[:first]
            kept[: count - first] = new[first:]
        self.pushed += count

    def get_extra_state(self) -> Tensor:
        """How much has been pushed, for the checkpoint."""
        return torch.tensor(self.pushed)

    def set_extra_state(self, state: Tensor) -> None:
        """Continue from a checkpoint."""
        self.pushed = int(state)
