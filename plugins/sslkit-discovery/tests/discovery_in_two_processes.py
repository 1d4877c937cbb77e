"""Script of test_two_processes.py."""

from __future__ import annotations

from typing import Any

import torch
from processes import two_processes
from torch.nn.functional import normalize

import sslkit
from sslkit_discovery.offline_clustering.deepcluster_v2 import DeepClusterV2
from sslkit_discovery.offline_clustering.sela import SeLa
from sslkit_discovery.ruc import Ruc
from sslkit_discovery.scan import Scan
from sslkit_discovery.secu import SeCu
from sslkit_discovery.self_label import SelfLabel
from sslkit_discovery.temi import Temi

IMAGES, TRAINING_IMAGES, VIEWS, GLOBAL, SIZES = 8, 12, 3, 2, (3, 5, 3)
LOSSES: dict[str, tuple[type[sslkit.Loss], dict[str, Any]]] = {
    "deepcluster-v2": (DeepClusterV2, {"prototypes": (3, 4)}),
    "sela": (SeLa, {"sharpness": 2.0, "sinkhorn_iterations": 50}),
    "ruc": (Ruc, {"threshold": 0.5, "neighbours": 4, "promotion_threshold": 0.3, "temperature": 0.3}),
    "scan": (Scan, {}),
    "temi": (Temi, {}),
    "secu": (SeCu, {}),
    "self-label": (SelfLabel, {"threshold": 0.7}),
}


def compute(world: sslkit.World, start: int, stop: int) -> dict[str, torch.Tensor]:
    """Return losses, terms, gradients and buffers over four steps, for images ``start`` to ``stop`` of each batch."""
    torch.set_default_dtype(torch.float64)
    result = {}
    for name, (loss_class, options) in LOSSES.items():
        torch.manual_seed(0)
        context = sslkit.Context(
            1, 8, (0.5,), (0.5,), IMAGES, 1, 1, world=world, embedding_dim=4, classifiers=SIZES, view_count=VIEWS,
            global_view_count=GLOBAL, training_images=TRAINING_IMAGES, feature_dim=4,
        )  # fmt: skip
        loss = loss_class(loss_class.Options(**options), context)
        weights = [torch.randn(size, 4, requires_grad=True) for size in SIZES]

        def classify(embedding: torch.Tensor, weights: list[torch.Tensor] = weights) -> tuple[torch.Tensor, ...]:
            return tuple(embedding @ normalize(weight).T for weight in weights)

        if loss.needs_initial_outputs:
            initial = normalize(torch.randn(TRAINING_IMAGES, 4), dim=1)
            with torch.no_grad():
                logits = tuple((own,) for own in classify(initial))
            loss.prepare(sslkit.BranchOutputs((initial,), (initial,), logits))
        for step in range(4):
            embeddings = normalize(torch.randn(VIEWS, IMAGES, 4), dim=2)[:, start:stop].requires_grad_()
            views = tuple(embeddings)
            logits = tuple(zip(*map(classify, views), strict=True))
            branch = sslkit.BranchOutputs(views, views, logits, classify)
            index = (torch.arange(IMAGES) + 4 * step)[start:stop] % TRAINING_IMAGES
            output = loss(sslkit.ViewOutputs({"student": branch}, GLOBAL, index, step))
            parameters = dict(loss.named_parameters())
            leaves = [*weights, *parameters.values(), embeddings]
            *own, inner = torch.autograd.grad(output.total, leaves, allow_unused=True, materialize_grads=True)
            mean = {"total": output.total.detach(), **output.terms}
            mean |= {f"classifier {number}": value for number, value in enumerate(output.per_classifier)}
            mean["gradient"] = torch.cat([gradient.flatten() for gradient in own])
            for key, value in mean.items():
                result[f"{name} {step} {key}"] = world.sum(value) / world.size
            result[f"{name} {step} embeddings"] = world.gather(inner.transpose(0, 1)) / world.size
        result |= {f"{name} {key}": buffer.double() for key, buffer in loss.named_buffers()}
    return result


if __name__ == "__main__":
    two_processes.compare(compute, IMAGES)
