"""Compare a computation in two gloo processes, each with half of the batch, with one process and the whole batch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed
import torch.multiprocessing

import sslkit
from processes import forked_cli
from sslkit.contracts.context import DistributedWorld

Results = dict[str, torch.Tensor]
Compute = Callable[[sslkit.World, int, int], Results]
"""Function that computes results from images ``start`` to ``stop`` of each batch."""


def run_script(script: Path, folder: Path) -> tuple[Results, Results, Results]:
    """Run a script that calls ``compare``; return the results of the single process and of both ranks."""
    done = forked_cli.run_script([str(script), str(folder)], os.environ, folder)
    assert done.returncode == 0, done.stderr
    single, first, second = (torch.load(folder / f"{name}.pt") for name in ("single", "0", "1"))
    return single, first, second


def compare(compute: Compute, images: int) -> None:
    """Save the results of ``compute`` in the folder that is the script's argument."""
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    torch.multiprocessing.start_processes(_run_rank, (compute, images, folder), nprocs=2, start_method="fork")
    torch.save(compute(sslkit.World(), 0, images), folder / "single.pt")


def _run_rank(rank: int, compute: Compute, images: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    half = images // 2
    torch.save(compute(DistributedWorld(), rank * half, rank * half + half), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()
