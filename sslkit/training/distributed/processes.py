"""The processes that train together: who started them, how many there are, and what they tell each other."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from sslkit.contracts.context import DistributedWorld, World
from sslkit.errors import InputError, TrainingError
from sslkit.recipe.schema import TrainSection

Shared = TypeVar("Shared")

OUTSIDE: dict[type[ClusterEnvironment], str] = {SLURMEnvironment: "SLURM", TorchElasticEnvironment: "torchrun"}
"""What may have started all processes, in the order that Lightning asks."""


def environment() -> ClusterEnvironment | None:
    """What started this process as one of several: SLURM, torchrun or sslkit itself; None where nothing did."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's, that srun exists and was not used
        for kind in OUTSIDE:
            if kind.detect():
                return kind()
    return LightningEnvironment() if "LOCAL_RANK" in os.environ else None


def started_by() -> str:
    """The same in a word."""
    return next((name for kind, name in OUTSIDE.items() if isinstance(environment(), kind)), "sslkit")


def is_main_process() -> bool:
    """Whether this process is the one that writes and speaks; known before the processes have met."""
    found = environment()
    if isinstance(found, LightningEnvironment):
        return not (found.local_rank() or found.node_rank())
    return found is None or found.global_rank() == 0


def devices_of(train: TrainSection, device: str) -> int:
    """How many processes train on each machine.

    Args:
        train: what the recipe asks for.
        device: ``cpu``, ``cuda`` or ``mps``.

    Raises:
        InputError: there are fewer devices here, or processes were started from outside and are not as many.
    """
    here = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device, 0)
    found = environment()
    started = found.world_size() if type(found) in OUTSIDE and found is not None else 0
    devices = train.devices if train.devices != "auto" else started // train.nodes or here or 1
    if here and devices > here:
        raise InputError(f"train.devices = {devices}: there {'is' if here == 1 else 'are'} {here} of {device!r} here")
    if started and started != devices * train.nodes:
        raise InputError(
            f"{started_by()} started {started} {'process' if started == 1 else 'processes'}, but train.devices = "
            f"{devices} and train.nodes = {train.nodes} mean {devices * train.nodes}: make them agree"
        )
    return devices


def require_single_process(command: str) -> None:
    """Refuse a command that each process would do, and save, again.

    Raises:
        InputError: torchrun or SLURM started several.
    """
    found = environment()
    count = found.world_size() if type(found) in OUTSIDE and found is not None else 1
    if count > 1:
        raise InputError(
            f"`{command}` is the work of one process, and {started_by()} started {count}: "
            "each would do it and save it again; start it without"
        )


@contextmanager
def detect_lost_process() -> Iterator[None]:
    """What is done together with processes that may end before this one.

    Raises:
        TrainingError: one of them did, so that this one missed it.
    """
    try:
        yield
    except RuntimeError as error:
        # gloo has no exception of its own.
        if isinstance(error, torch.distributed.DistError) or "gloo/transport" in str(error):
            raise TrainingError(
                "another process ended, and this one cannot go on without it: what that one said is the cause; "
                "if a checkpoint was saved, `sslkit resume` goes on from it"
            ) from error
        raise


class Processes:
    """Those that train together; this base is a single one.

    What they tell each other here goes from host to host: it never waits for a device.

    Attributes:
        world: what components are given.
        main: whether this process is the one that writes and speaks.
        devices: processes on each machine.
    """

    def __init__(self, world: World | None = None, devices: int = 1) -> None:
        self.world = world or World()
        self.main = self.world.rank == 0
        self.devices = devices

    def main_process_first(self) -> AbstractContextManager[None]:
        """A block that the first process of each machine runs before the others: what it fetches, they find."""
        return nullcontext()

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Each flag, raised where any process raises it."""
        return flags

    def share(self, value: Shared) -> Shared:
        """The main process's value."""
        return value

    def collect(self, value: Shared) -> list[Shared]:
        """The values of all processes, in their order."""
        return [value]


class SeveralProcesses(Processes):
    """Processes that Lightning has connected."""

    def __init__(self, fabric: Fabric, devices: int) -> None:
        super().__init__(DistributedWorld(), devices)
        self.fabric = fabric
        # Of its own: not on the device.  Patient while the main process measures and saves, but a machine that is gone
        # without a word must not keep the others for ever.
        self.host: Any = torch.distributed.new_group(backend="gloo", timeout=timedelta(hours=1))

    def main_process_first(self) -> AbstractContextManager[None]:
        return self.fabric.rank_zero_first(local=True)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        raised = torch.tensor(flags, dtype=torch.uint8)
        torch.distributed.all_reduce(raised, torch.distributed.ReduceOp.MAX, group=self.host)
        return tuple(map(bool, raised.tolist()))

    def share(self, value: Shared) -> Shared:
        values = [value]
        torch.distributed.broadcast_object_list(values, group=self.host)
        return values[0]

    def collect(self, value: Shared) -> list[Shared]:
        values = [value] * self.world.size
        torch.distributed.all_gather_object(values, value, group=self.host)
        return values


def meet(train: TrainSection, device: str) -> Processes:
    """Join the other processes of this training, where there are any.

    Args:
        train: what the recipe asks for.
        device: ``cpu``, ``cuda`` or ``mps``.

    Raises:
        InputError: they are not as many as the recipe asks for.
    """
    devices = devices_of(train, device)
    if devices * train.nodes == 1:
        return Processes()
    fabric = Fabric(accelerator=device, devices=devices, num_nodes=train.nodes, strategy="ddp")
    fabric.launch()
    return SeveralProcesses(fabric, devices)
