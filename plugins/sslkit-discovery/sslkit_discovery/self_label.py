"""The self-labelling loss: confident predictions for the weak view are the labels of the strong views.

Source: Van Gansbeke et al., "SCAN: Learning to Classify Images without Labels", ECCV 2020, arXiv 2005.12320,
section 2.3, and the authors' published code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

import sslkit
from sslkit_discovery.class_shares import ClassShares
from sslkit_discovery.classifiers import check_classifiers

SHARE_MOMENTUM = 0.99
"""Momentum of the moving average of the class shares, which covers about 100 batches with confident images."""


class SelfLabel(sslkit.Loss):
    """Cross-entropy between strong views and the pseudo-labels of confident images, with balanced classes.

    The first view is weakly augmented, and all other views are strongly augmented. An image is confident if its most
    probable class in the first view has a probability of at least ``threshold`` in the softmax of
    ``logits / temperature``. This class is its pseudo-label. No gradient reaches the first view.

    For each class, the cross-entropy between the strong views and the pseudo-label is averaged over the views and over
    the confident images of the class in the global batch. The loss of a classifier is the mean over the classes that
    have confident images. Without a confident image, the loss and its gradient are 0. The total is the mean over
    classifiers; each classifier has its own pseudo-labels.

    Self-labelling refines classes that are already good. Use the loss in a run that continues an earlier run, with
    ``sslkit train RECIPE --continue-from RUN``.

    Deviations from the paper and the authors' code:

    * several classifiers, several strong views, and the global batch of all processes;
    * a batch without confident images has a loss of 0; the authors' code raises an error;
    * ``temperature``: the paper uses plain logits, but the logits of sslkit's heads are cosines.

    ``LossOutput.per_classifier`` counts each of the K classes that has no confident images as ``ln K``, the loss of a
    uniform guess. ``[evaluation] classifier = "lowest-loss"``, which selects by this value, therefore avoids
    classifiers that put all images into one class, or that are never confident.

    Terms, each averaged over classifiers; the first three are 0 if no image is confident:

    * ``confident``: fraction of the images in the global batch that have a pseudo-label;
    * ``classes_present``: fraction of the classes that have confident images in the global batch;
    * ``agreement``: fraction of the confident images whose strong views get the pseudo-label as their class, averaged
      over views;
    * ``smallest_class``: K times the smallest class share among the confident images. Shares are moving averages over
      batches, which start at 1 / K. A value that falls towards 0 means that a class is vanishing.

    Raises:
        sslkit.InputError: a classifier has fewer than two classes.
    """

    api = 2
    needs = frozenset({"logits"})
    min_views = 2
    first_view_is_target = True

    class Options(sslkit.Options):
        threshold: float = Field(0.99, ge=0, lt=1)
        """Smallest probability of a pseudo-label."""

        temperature: float = Field(0.1, gt=0)
        """Temperature of the softmax over classes: 0.1 for cosines, 1 for plain logits."""

    @classmethod
    def check_options(cls, folder: Path) -> Mapping[str, Any]:
        # All images are confident, so that gradients reach all of them.
        return {"threshold": 0.0}

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        check_classifiers("self-label", context)
        self.threshold = options.threshold
        self.logit_temperature = options.temperature
        self.world = context.world
        self.groups = sslkit.ClassifierGroups(context.classifiers)
        self.shares = ClassShares(self.groups, SHARE_MOMENTUM)

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """Return the loss of this process's part of the batch; for shapes see ``sslkit.ViewOutputs``."""
        parts = [self._classify(stacked) for stacked in self.groups.stack(views.student.logits)]
        losses, scores, *terms = (self.groups.in_order(values) for values in zip(*parts, strict=True))
        names = ("confident", "classes_present", "agreement", "smallest_class")
        return sslkit.LossOutput(
            total=losses.mean(),
            terms={name: values.mean() for name, values in zip(names, terms, strict=True)},
            per_classifier=scores.unbind(),
        )

    def _classify(self, logits: Tensor) -> tuple[Tensor, ...]:
        """Return the loss and its terms for classifiers with the same number of classes.

        Args:
            logits: tensor ``[R, V, B, K]``, the logits of R classifiers for all views.

        Returns:
            Tensors ``[R]``: the loss, the value by which a classifier is selected for evaluation, and the terms
            ``confident``, ``classes_present``, ``agreement`` and ``smallest_class``.
        """
        classes = logits.shape[3]
        log_p = (logits / self.logit_temperature).log_softmax(3)
        weak, strong = log_p[:, 0].detach(), log_p[:, 1:]
        highest, label = weak.max(2)
        confident = highest.exp() >= self.threshold
        # [R, B, K], 1 at the pseudo-label of confident images: a selection of rows would sync the device.
        onehot = (label[:, :, None] == torch.arange(classes, device=label.device)) & confident[:, :, None]
        chosen = onehot.to(log_p.dtype)
        agree = ((strong.detach().argmax(3) == label[:, None]) & confident[:, None]).to(log_p.dtype).mean(1).sum(1)
        sums = self.world.sum(torch.cat([chosen.sum(1), agree[:, None]], dim=1))
        counts, agree = sums[:, :classes], sums[:, classes]
        images = counts.sum(1)
        present = (counts > 0).to(log_p.dtype).sum(1)

        entropies = -(chosen[:, None] * strong).sum(3).mean(1)
        weights = (chosen / counts.clamp_min(1)[:, None]).sum(2)
        # sslkit averages over processes; the factor makes this a sum.
        by_class = (weights * entropies).sum(1) * self.world.size
        loss = by_class / present.clamp_min(1)
        score = (by_class.detach() + (classes - present) * math.log(classes)) / classes
        batch = logits.shape[2] * self.world.size
        shares = self.shares.update(counts / images.clamp_min(1)[:, None], images > 0)
        smallest = shares.amin(1) * classes
        return loss, score, images / batch, present / classes, agree / images.clamp_min(1), smallest
