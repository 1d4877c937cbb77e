"""Cross-entropy of predictions with stored labels, averaged over the labelled images of the global batch."""

from __future__ import annotations

from torch import Tensor

import sslkit


def label_cross_entropy(logits: Tensor, labels: Tensor, world: sslkit.World) -> Tensor:
    """Return the mean cross-entropy ``[R]`` of R classifiers over V views and the images of the global batch.

    Args:
        logits: tensor ``[R, V, B, K]``, divided by the temperature.
        labels: int64 tensor ``[R, B]``; images with the label -1 are left out.
        world: the processes of the training run. All processes must call this function.
    """
    known = (labels >= 0).to(logits.dtype)
    # sslkit averages over processes; the factor makes this a sum.
    weights = known / world.sum(known.sum(1))[:, None].clamp_min(1) * world.size
    chosen = labels.clamp_min(0)[:, None, :, None].expand(-1, logits.shape[1], -1, 1)
    return -(weights * logits.log_softmax(3).gather(3, chosen)[..., 0].mean(1)).sum(1)
