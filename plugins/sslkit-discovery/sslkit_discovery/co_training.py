"""Targets and Mixup for two co-trained networks (arXiv 2012.11150, section 3.2; MixMatch, arXiv 1905.02249)."""

from __future__ import annotations

import math
import random

import torch
from torch import Tensor

import sslkit


@torch.no_grad()
def co_targets(p: Tensor, onehot: Tensor, sharpening: float) -> Tensor:
    """Return the target class probabilities ``[2, R, B, K]`` of two co-trained networks with R classifiers each.

    An image is clean if its label is probably right; see ``clean_images``. The target of a clean image is
    ``(1 - w) * onehot + w * q``, where ``q`` is the prediction of the other network for the first view, and
    ``w = (max(q) - 1 / K) / (1 - 1 / K)``. The target of an unclean image is the mean of ``p`` over networks and views.
    Targets are sharpened: ``t^(1 / sharpening)``, divided by the sum over classes.

    Args:
        p: predictions ``[2, R, M, B, K]`` of both networks for M views.
        onehot: one-hot labels ``[R, B, K]`` of clean images; 0 for unclean images.
        sharpening: temperature; 1 means no sharpening.
    """
    other = p[:, :, 0].flip(0)
    uniform = 1 / p.shape[4]
    weight = (other.amax(3, keepdim=True) - uniform) / (1 - uniform)
    refined = (1 - weight) * onehot + weight * other
    target = torch.where(onehot.any(2, keepdim=True), refined, p.mean((0, 2)))
    return (target.log() / sharpening).softmax(3)


def mixing_weight(alpha: float, seed: int, step: int) -> float:
    """Draw an image's own weight in Mixup: ``max(l, 1 - l)`` with ``l`` from Beta(alpha, alpha)."""
    drawn = random.Random(f"mixup {seed} {step}").betavariate(alpha, alpha)
    return max(drawn, 1 - drawn)


def mix_with_next(tensor: Tensor, weight: Tensor | None, world: sslkit.World) -> Tensor:
    """Return ``weight`` times each image's values plus ``1 - weight`` times those of the next image.

    Images are in the order of the global batch, which is random, and the last image is followed by the first.

    Args:
        tensor: tensor ``[B, ...]`` of this process's images.
        weight: scalar tensor, weight of the image itself; None means no mixing.
        world: the processes of the training run.
    """
    if weight is None:
        return tensor
    start = world.rank * len(tensor)
    following = world.gather(tensor).roll(-1, 0)[start : start + len(tensor)]
    return weight * tensor + (1 - weight) * following


def mean_over_classes(logits: Tensor, target: Tensor, world: sslkit.World) -> Tensor:
    """Return the cross-entropy with a target, averaged over images of each class and then over classes, ``[R]``.

    The class of an image is the most probable class of its target. A class without images counts as ``ln K``.

    Args:
        logits: tensor ``[R, M, B, K]`` of R classifiers for M views.
        target: tensor ``[R, B, K]``.
        world: the processes of the training run, whose images are averaged together.
    """
    classes = logits.shape[3]
    entropies = -(target[:, None] * logits.log_softmax(3)).sum(3).mean(1)
    members = (target.argmax(2)[:, :, None] == torch.arange(classes, device=logits.device)).to(logits.dtype)
    sums = world.sum(torch.stack([(members * entropies[:, :, None]).sum(1), members.sum(1)]))
    by_class = torch.where(sums[1] > 0, sums[0] / sums[1].clamp_min(1), math.log(classes))
    return by_class.mean(1)
