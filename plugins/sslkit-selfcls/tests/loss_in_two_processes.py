"""Script of test_two_processes.py."""

from __future__ import annotations

import torch
from processes import two_processes

import sslkit
from sslkit_selfcls.head import SelfClassifierHead
from sslkit_selfcls.loss import SelfClassifierLoss

IMAGES, GLOBAL, VIEWS, QUEUE = 8, 2, 3, 12


def compute(world: sslkit.World, start: int, stop: int) -> dict[str, torch.Tensor]:
    """Return losses and gradients of three steps, and the queue, for images ``start`` to ``stop`` of each batch."""
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


if __name__ == "__main__":
    two_processes.compare(compute, IMAGES)
