"""Classification accuracy."""

from __future__ import annotations

import torch
from torch import Tensor


def topk_accuracy(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Return ``top1`` and, with more than five classes, ``top5`` accuracy in [0, 1].

    Args:
        logits: tensor ``[N, K]``. A class with a logit of minus infinity never counts as predicted.
        labels: int64 tensor ``[N]`` on the CPU.
    """
    top = logits.topk(min(5, logits.shape[1]), dim=1)
    correct = (top.indices.cpu() == labels[:, None]) & (top.values > -torch.inf).cpu()
    metrics = {"top1": float(correct[:, 0].double().mean())}
    if logits.shape[1] > 5:
        metrics["top5"] = float(correct.any(1).double().mean())
    return metrics
