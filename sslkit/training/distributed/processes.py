"""Connect the processes of a training run and exchange values between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed
from lightning_fabric import Fabric

from sslkit.contracts.context import DistributedWorld, World
from sslkit.errors import TrainingError
from sslkit.recipe.sections import TrainSection
from sslkit.training.distributed.environment import devices_per_node

Value = TypeVar("Value")

HOST_TIMEOUT = timedelta(hours=1)
"""Longest wait for another process; the main process can validate and save in this time."""


@contextmanager
def detect_lost_process() -> Iterator[None]:
    """Convert PyTorch's error about a lost process to a ``TrainingError`` with an explanation.

    Raises:
        TrainingError: another process ended during a collective operation in the ``with`` block.
    """
    try:
        yield
    except RuntimeError as error:
        # gloo raises a plain RuntimeError.
        if isinstance(error, torch.distributed.DistError) or "gloo/transport" in str(error):
            raise TrainingError(
                "another process ended, and this one cannot continue without it: see the message of that process for "
                "the cause; if a checkpoint was saved, `sslkit resume` continues from it"
            ) from error
        raise


class Processes:
    """Communication of this process with the others of its training run. This base class is for a single process.

    Values are exchanged through CPU memory, so that no method waits for a GPU.

    Attributes:
        world: the ``World`` that components receive as ``context.world``.
        is_main: whether this process writes files and reports progress.
        devices: number of processes on each node.
    """

    def __init__(self, world: World | None = None, devices: int = 1) -> None:
        self.world = world or World()
        self.is_main = self.world.rank == 0
        self.devices = devices

    def local_main_process_first(self) -> AbstractContextManager[None]:
        """Return a context manager: one process per node runs the block before the others, for example to download."""
        return nullcontext()

    def any_process(self, *flags: bool) -> tuple[bool, ...]:
        """Return whether each flag is True in at least one process."""
        return flags

    def broadcast(self, value: Value) -> Value:
        """Return the value of the main process in all processes."""
        return value

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all processes, in order of rank."""
        return [value]


class DistributedProcesses(Processes):
    """Two or more processes of a training run, connected by Lightning Fabric."""

    def __init__(self, fabric: Fabric, devices: int) -> None:
        super().__init__(DistributedWorld(), devices)
        self.fabric = fabric
        # A separate CPU group, because the default group may use the GPUs.
        self.host_group: Any = torch.distributed.new_group(backend="gloo", timeout=HOST_TIMEOUT)

    def local_main_process_first(self) -> AbstractContextManager[None]:
        return self.fabric.rank_zero_first(local=True)

    def any_process(self, *flags: bool) -> tuple[bool, ...]:
        is_set = torch.tensor(flags, dtype=torch.uint8)
        torch.distributed.all_reduce(is_set, torch.distributed.ReduceOp.MAX, group=self.host_group)
        return tuple(map(bool, is_set.tolist()))

    def broadcast(self, value: Value) -> Value:
        values = [value]
        torch.distributed.broadcast_object_list(values, group=self.host_group)
        return values[0]

    def gather(self, value: Value) -> list[Value]:
        values = [value] * self.world.size
        torch.distributed.all_gather_object(values, value, group=self.host_group)
        return values


def connect(train: TrainSection, device: str) -> Processes:
    """Connect this process to the other processes of the training run.

    Args:
        train: section ``[train]`` of the recipe.
        device: ``cpu``, ``cuda`` or ``mps``.

    Raises:
        InputError: the number of processes differs from that of the recipe.
    """
    devices = devices_per_node(train, device)
    if devices * train.nodes == 1:
        return Processes()
    fabric = Fabric(accelerator=device, devices=devices, num_nodes=train.nodes, strategy="ddp")
    fabric.launch()
    return DistributedProcesses(fabric, devices)
