"""Run by test_two_processes.py: trains every recipe of a folder in several processes, and in one.

The several are started as torchrun or SLURM would start them, but as copies of this one: nothing is imported twice.
The folder of a recipe says who starts how many: ``torchrun-2/simclr.toml``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from torch.multiprocessing.spawn import start_processes

from sslkit.contracts.method import Method
from sslkit.recipe.check import load_recipe
from sslkit.training.train import train

HONEST: Any = Method.after_backward


def keep_gradients(folder: Path, rank: int, name: str) -> None:
    """Save the gradients of each training's first step."""

    def kept(self: Method, step: int) -> None:
        if step == 0 and rank == 0:
            found = {name: item.grad for name, item in self.named_parameters() if item.grad is not None}
            torch.save(found, folder / f"{os.environ['RECIPE']}-{name}.pt")
        HONEST(self, step)

    Method.after_backward = kept  # type: ignore[method-assign]


def run_all(folder: Path, size: int, rank: int, name: str) -> None:
    torch.set_num_threads(1)
    keep_gradients(folder, rank, name)
    for path in sorted(folder.glob("*.toml")):
        os.environ["RECIPE"] = path.stem
        train(load_recipe(path, [f"train.devices={size}"]), folder / name)


def as_torchrun(rank: int, size: int, port: int, folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "TORCHELASTIC_RUN_ID": "test"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    run_all(folder, size, rank, "several")


def as_slurm(rank: int, size: int, port: int, folder: Path) -> None:
    job = {"NTASKS": size, "PROCID": rank, "LOCALID": rank, "NODEID": 0, "JOB_ID": 77, "JOB_NAME": "train"}
    os.environ |= {f"SLURM_{name}": str(value) for name, value in job.items()}
    os.environ |= {"SLURM_NODELIST": "127.0.0.1", "SLURM_NTASKS_PER_NODE": str(size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    run_all(folder, size, rank, "several")


if __name__ == "__main__":
    for where in sorted(path for path in Path(sys.argv[1]).iterdir() if "-" in path.name):
        starter, _, count = where.name.partition("-")
        begin = {"torchrun": as_torchrun, "slurm": as_slurm}[starter]
        start_processes(begin, (int(count), find_free_network_port(), where), nprocs=int(count), start_method="fork")
        run_all(where, 1, 0, "one")
