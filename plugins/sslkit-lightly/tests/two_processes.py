"""Run by test_swav_loss.py: two gloo processes on a batch that one process also computes alone."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed
import torch.multiprocessing

import sslkit
from sslkit.contracts.context import DistributedWorld
from sslkit_lightly.swav_loss import SwavLoss

IMAGES, GLOBAL, VIEWS = 8, 2, 3


def step(world: sslkit.World, start: int, stop: int) -> dict[str, torch.Tensor]:
    """Loss and prototypes' gradient on images ``start`` to ``stop`` of the batch."""
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(VIEWS, IMAGES, 6, generator=generator, dtype=torch.float64)[:, start:stop]
    prototypes = torch.randn(5, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    context = sslkit.Context(1, 8, (0.5,), (0.5,), IMAGES, 1, 1, world=world, view_count=VIEWS)
    branch = sslkit.BranchOutputs(tuple(embeddings), logits=(tuple(embeddings @ prototypes.T),))
    output = SwavLoss(SwavLoss.Options(), context)(sslkit.ViewOutputs({"student": branch}, GLOBAL, torch.arange(4)))
    output.total.backward()
    assert prototypes.grad is not None
    return {
        "loss": world.sum(output.total.detach()) / world.size,
        "gradient": world.sum(prototypes.grad) / world.size,
    }


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    half = IMAGES // 2
    torch.save(step(DistributedWorld(), rank * half, rank * half + half), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    where = Path(sys.argv[1])
    torch.set_num_threads(1)
    torch.multiprocessing.start_processes(work, (where,), nprocs=2, start_method="fork")
    torch.save(step(sslkit.World(), 0, IMAGES), where / "alone.pt")
