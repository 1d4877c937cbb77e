"""Lightning strategy for multiple processes that leaves the exchange of gradients to the training step."""

from __future__ import annotations

import torch
from pytorch_lightning.strategies import DDPStrategy


class ProcessStrategy(DDPStrategy):
    """Strategy in which the training step itself exchanges gradients; see ``GradientAverage``.

    PyTorch's ``DistributedDataParallel`` would have to search for unused parameters in every step, because a loss may
    start in a later epoch. It would also copy the buffers of the first process in every step. Queues and centres of
    losses are the same in all processes without this copy, and training does not read the running statistics of
    BatchNorm.
    """

    def configure_ddp(self) -> None:
        """Copy parameters and buffers of the first process to all others once. The module is not wrapped."""
        assert self.model is not None
        for tensor in (*self.model.parameters(), *self.model.buffers()):
            value = tensor.detach().contiguous()
            torch.distributed.broadcast(value, src=0)
            tensor.detach().copy_(value)
