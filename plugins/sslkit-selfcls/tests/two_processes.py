"""Run by test_two_processes.py: two gloo processes on a batch that one process also computes alone."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed
import torch.multiprocessing

import sslkit
from sslkit.contracts.context import DistributedWorld
from sslkit_selfcls.head import SelfClassifierHead
from sslkit_selfcls.loss import SelfClassifierLoss

IMAGES, GLOBAL, VIEWS, QUEUE = 8, 2, 3, 12


def steps(world: sslkit.World, start: int, stop: int) -> dict[str, torch.Tensor]:
    """Three steps' losses and gradients, and the queue, on images ``start`` to ``stop`` of each batch."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    context = sslkit.Context(1, 8, (0.5,), (0.5,), IMAGES, 1, 1, world=world, view_count=VIEWS, feature_dim=6)
    head = SelfClassifierHead(
        SelfClassifierHead.Options(classifiers=(3, 5, 3), hidden_dims=(7,), embedding_dim=4, batch_norm=False), context
    )
    context = sslkit.Context(
        1, 8, (0.5,), (0.5,), IMAGES, 1, 1, world=world, embedding_dim=4, classifiers=(3, 5, 3), view_count=VIEWS
    )
    loss = SelfClassifierLoss(SelfClassifierLoss.Options(queue_size=QUEUE), context)
    result = {}
    for step in range(3):
        features = torch.randn(VIEWS, IMAGES, 6)[:, start:stop]
        outputs = [head(view) for view in features]
        branch = sslkit.BranchOutputs(
            tuple(features),
            tuple(output.embedding for output in outputs),
            tuple(zip(*(output.logits for output in outputs), strict=True)),
            head.classify,
        )
        index = torch.arange(IMAGES)[start:stop] + step
        output = loss(sslkit.ViewOutputs({"student": branch}, GLOBAL, index))
        head.zero_grad()
        output.total.backward()
        gradients = [parameter.grad for parameter in head.parameters()]
        result[f"loss {step}"] = world.sum(output.total.detach()) / world.size
        result[f"balance {step}"] = output.terms["class_balance"]
        result[f"gradient {step}"] = world.sum(torch.cat([g.flatten() for g in gradients])) / world.size
    return {**result, **{name: buffer.float() for name, buffer in loss.named_buffers()}}


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    half = IMAGES // 2
    torch.save(steps(DistributedWorld(), rank * half, rank * half + half), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    where = Path(sys.argv[1])
    torch.set_num_threads(1)
    torch.multiprocessing.start_processes(work, (where,), nprocs=2, start_method="fork")
    torch.save(steps(sslkit.World(), 0, IMAGES), where / "alone.pt")
