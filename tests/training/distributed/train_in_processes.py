"""Script of test_matches_one_process.py: train each recipe of a folder in multiple processes and in one process.

The processes have the variables that torchrun or SLURM would set, but are forks of this process, to import only once.
A recipe's folder names the launcher and the number of processes: ``torchrun-2/simclr.toml``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from torch.multiprocessing.spawn import start_processes

from sslkit.contracts.method import Method
from sslkit.recipe.load import load_recipe
from sslkit.training.step.training_step import TrainingStep
from sslkit.training.train import train

AFTER_BACKWARD: Any = Method.after_backward
TAKE_STEP: Any = TrainingStep.__call__
COLLECTIVES = ("all_reduce", "all_gather", "broadcast")


def save_first_gradients(folder: Path, rank: int, name: str) -> None:
    """Save the gradients of the first step of each training run in the main process."""

    def saving_after_backward(self: Method, step: int) -> None:
        if step == 0 and rank == 0:
            gradients = {name: item.grad for name, item in self.named_parameters() if item.grad is not None}
            torch.save(gradients, folder / f"{os.environ['RECIPE']}-{name}.pt")
        AFTER_BACKWARD(self, step)

    Method.after_backward = saving_after_backward  # type: ignore[method-assign]


def count_collectives() -> list[list[str]]:
    """Return a list that receives, for each training step, the names of the step's collective operations."""
    steps: list[list[str]] = []
    is_step = [False]

    def recorded(name: str) -> Callable[..., Any]:
        function = getattr(torch.distributed, name)

        def record(*args: Any, **kwargs: Any) -> Any:
            if is_step[0]:
                steps[-1].append(name)
            return function(*args, **kwargs)

        return record

    def recorded_step(self: TrainingStep, *args: Any) -> Any:
        steps.append([])
        is_step[0] = True
        output = TAKE_STEP(self, *args)
        is_step[0] = False
        return output

    for name in COLLECTIVES:
        setattr(torch.distributed, name, recorded(name))
    TrainingStep.__call__ = recorded_step  # type: ignore[method-assign]
    return steps


def train_all(folder: Path, size: int, rank: int, name: str) -> None:
    torch.set_num_threads(1)
    save_first_gradients(folder, rank, name)
    steps = count_collectives()
    for path in sorted(folder.glob("*.toml")):
        os.environ["RECIPE"] = path.stem
        steps.clear()
        train(load_recipe(path, [f"train.devices={size}"]), folder / name)
        if rank == 0:
            (folder / f"{path.stem}-{name}.json").write_text(json.dumps(steps))


def as_torchrun(rank: int, size: int, port: int, folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "TORCHELASTIC_RUN_ID": "test"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    train_all(folder, size, rank, "several")


def as_slurm(rank: int, size: int, port: int, folder: Path) -> None:
    job = {"NTASKS": size, "PROCID": rank, "LOCALID": rank, "NODEID": 0, "JOB_ID": 77, "JOB_NAME": "train"}
    os.environ |= {f"SLURM_{name}": str(value) for name, value in job.items()}
    os.environ |= {"SLURM_NODELIST": "127.0.0.1", "SLURM_NTASKS_PER_NODE": str(size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    train_all(folder, size, rank, "several")


if __name__ == "__main__":
    for folder in sorted(path for path in Path(sys.argv[1]).iterdir() if "-" in path.name):
        launcher, _, count = folder.name.partition("-")
        function = {"torchrun": as_torchrun, "slurm": as_slurm}[launcher]
        start_processes(
            function, (int(count), find_free_network_port(), folder), nprocs=int(count), start_method="fork"
        )
        train_all(folder, 1, 0, "one")
