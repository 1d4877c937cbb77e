"""Script of test_swav_loss.py."""

from __future__ import annotations

import torch
from processes import two_processes

import sslkit
from sslkit_lightly.swav_loss import SwavLoss

IMAGES, GLOBAL, VIEWS, QUEUE = 8, 2, 3, 12


def compute(world: sslkit.World, start: int, stop: int) -> dict[str, torch.Tensor]:
    """Return losses and gradients of three steps, and the queues, for images ``start`` to ``stop`` of each batch."""
    torch.set_default_dtype(torch.float64)
    generator = torch.Generator().manual_seed(0)
    prototypes = torch.randn(5, 6, generator=generator, requires_grad=True)
    context = sslkit.Context(
        1, 8, (0.5,), (0.5,), IMAGES, 1, 1, world=world, view_count=VIEWS, global_view_count=GLOBAL, embedding_dim=6
    )
    loss = SwavLoss(SwavLoss.Options(queue_size=QUEUE), context)
    result = {}
    for step in range(3):
        embeddings = tuple(torch.randn(VIEWS, IMAGES, 6, generator=generator)[:, start:stop])
        logits = (tuple(embedding @ prototypes.T for embedding in embeddings),)
        branch = sslkit.BranchOutputs(embeddings, embeddings, logits, lambda embedding: (embedding @ prototypes.T,))
        output = loss(sslkit.ViewOutputs({"student": branch}, GLOBAL, torch.arange(IMAGES)[start:stop], step))
        prototypes.grad = None
        output.total.backward()
        assert prototypes.grad is not None
        result[f"loss {step}"] = world.sum(output.total.detach()) / world.size
        result[f"gradient {step}"] = world.sum(prototypes.grad) / world.size
    return {**result, **{name: buffer.double() for name, buffer in loss.named_buffers()}}


if __name__ == "__main__":
    two_processes.compare(compute, IMAGES)
