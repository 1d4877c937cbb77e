"""Detect the launcher of this process (torchrun, SLURM or sslkit) and the number of launched processes."""

from __future__ import annotations

import os
import warnings

import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from sslkit.errors import InputError
from sslkit.recipe.sections import TrainSection

EXTERNAL_LAUNCHERS: dict[type[ClusterEnvironment], str] = {
    SLURMEnvironment: "SLURM",
    TorchElasticEnvironment: "torchrun",
}
"""Launchers other than sslkit, in the order in which Lightning detects them."""


def cluster_environment() -> ClusterEnvironment | None:
    """Return the environment of the launcher that started this process, or None if there is none."""
    with warnings.catch_warnings(action="ignore"):  # Lightning warns if srun is installed but was not used
        for kind in EXTERNAL_LAUNCHERS:
            if kind.detect():
                return kind()
    return LightningEnvironment() if "LOCAL_RANK" in os.environ else None


def launcher_name() -> str:
    """Return the launcher of this process: ``SLURM``, ``torchrun`` or ``sslkit``."""
    environment = cluster_environment()
    return next((name for kind, name in EXTERNAL_LAUNCHERS.items() if isinstance(environment, kind)), "sslkit")


def is_main_process() -> bool:
    """Return whether this process writes files and reports progress, even before the processes are connected."""
    environment = cluster_environment()
    if isinstance(environment, LightningEnvironment):
        return not (environment.local_rank() or environment.node_rank())
    return environment is None or environment.global_rank() == 0


def devices_per_node(train: TrainSection, device: str) -> int:
    """Return the number of processes on each node, one for each device.

    Args:
        train: section ``[train]`` of the recipe.
        device: ``cpu``, ``cuda`` or ``mps``.

    Raises:
        InputError: this node has too few devices, or SLURM or torchrun started a different number of processes.
    """
    available = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device, 0)
    launched = _externally_launched()
    devices = train.devices if train.devices != "auto" else launched // train.nodes or available or 1
    if available and devices > available:
        raise InputError(
            f"train.devices = {devices}, but this machine has {available} {device!r} "
            f"{'device' if available == 1 else 'devices'}: set train.devices to at most {available}"
        )
    if launched and launched != devices * train.nodes:
        raise InputError(
            f"{launcher_name()} started {launched} {'process' if launched == 1 else 'processes'}, but train.devices = "
            f"{devices} and train.nodes = {train.nodes} mean {devices * train.nodes}: make them agree"
        )
    return devices


def require_single_process(command: str) -> None:
    """Check that ``command`` runs in only one process, because each process would save the result again.

    Raises:
        InputError: SLURM or torchrun started more than one process.
    """
    launched = _externally_launched()
    if launched > 1:
        launcher = launcher_name()
        raise InputError(
            f"`{command}` runs in one process, but {launcher} started {launched}, and each would save the result: "
            f"start it without {launcher}"
        )


def _externally_launched() -> int:
    """Return the number of processes that SLURM or torchrun started; 0 if neither started this process."""
    environment = cluster_environment()
    return environment.world_size() if type(environment) in EXTERNAL_LAUNCHERS and environment is not None else 0
