"""Run by test_two_processes.py: trains every recipe of a folder in two processes, and in one.

The two are started as torchrun would start them, but as copies of this one: nothing is imported twice.
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


def keep_gradients(folder: Path) -> None:
    """Save the gradients of each training's first step."""
    honest: Any = Method.after_backward

    def kept(self: Method, step: int) -> None:
        if step == 0 and os.environ.get("RANK", "0") == "0":
            found = {name: item.grad for name, item in self.named_parameters() if item.grad is not None}
            torch.save(found, folder / f"{os.environ['RECIPE']}-{os.environ.get('WORLD_SIZE', '1')}.pt")
        honest(self, step)

    Method.after_backward = kept  # type: ignore[method-assign]


def run_all(folder: Path, size: int) -> None:
    torch.set_num_threads(1)
    keep_gradients(folder)
    for path in sorted(folder.glob("*.toml")):
        os.environ["RECIPE"] = path.stem
        train(load_recipe(path, [f"train.devices={size}"]), folder / f"by-{size}")


def as_torchrun(rank: int, size: int, port: int, folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "TORCHELASTIC_RUN_ID": "test"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    run_all(folder, size)


if __name__ == "__main__":
    where = Path(sys.argv[1])
    start_processes(as_torchrun, (2, find_free_network_port(), where), nprocs=2, start_method="fork")
    run_all(where, 1)
