"""The Self-Classifier loss: views of an image predict the same class, with a uniform prior over classes.

Source: Amrani, Karlinsky, Bronstein, "Self-Supervised Classification Network", ECCV 2022, arXiv 2103.10994.
"""

from __future__ import annotations

import math
from collections.abc import Hashable

import torch
from pydantic import Field
from torch import Tensor

import sslkit
from sslkit_selfcls.queue import NeighbourQueue

EPSILON = 1e-12
"""Constant that avoids division by zero and the logarithm of zero, as set in the authors' train.py.

The default in the authors' loss.py is 1e-8, but their training never uses it. The value matters for sharp logits,
because the loss of a certain and wrong prediction is up to ``-ln(EPSILON)``.
"""


class SelfClassifierLoss(sslkit.Loss):
    """Cross-entropy between the class target of each view and the class prediction of every other view.

    With N images in the global batch and a classifier with C classes, each view has

    * a target ``t = q / max(sum_classes q, eps)``, where ``q`` is the softmax of ``logits / column_temperature`` over
      the batch. The target is not detached;
    * a prediction ``log((N / C) * p / max(sum_batch p, eps) + eps)``, where ``p`` is the softmax of
      ``logits / row_temperature`` over the classes. The division by the sum over the batch implements the uniform
      prior.

    ``eps`` is ``EPSILON``. The loss is ``-sum_classes target_i * prediction_j``, averaged over images, classifiers and
    ordered pairs of views i, j with at least one global view. The loss is 0 if predictions are certain and images are
    evenly distributed over classes, and ``ln C`` if all images have the same prediction.

    With ``queue_size`` above 0, a queue stores the embeddings of the first view from past batches. When the queue is
    full, the embedding of the first view is replaced by the most similar queued embedding of another image; see
    ``NeighbourQueue``.

    The term ``class_balance`` is the entropy of the mean prediction divided by ``ln C``, averaged over views and
    classifiers. It is 1 if all classes are used equally, and 0 if a single class is used.

    Raises:
        sslkit.OptionError: the queue is smaller than the global batch, or the head has no embedding.
        sslkit.InputError: a classifier has fewer than two classes.
    """

    api = 2
    needs = frozenset({"logits"})
    min_views = 2

    class Options(sslkit.Options):
        row_temperature: float = Field(0.1, gt=0)
        """Temperature of the softmax over classes in the prediction."""

        column_temperature: float = Field(0.05, gt=0)
        """Temperature of the softmax over the batch in the target."""

        queue_size: int = Field(0, ge=0, le=10_000_000)
        """Number of past embeddings in the queue. Nearest neighbours in it replace the first view; 0 means no queue."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        if any(classes < 2 for classes in context.classifiers):
            raise sslkit.InputError("the selfcls loss needs classifiers of at least two classes")
        self.row_temperature = self.logit_temperature = options.row_temperature
        self.column_temperature = options.column_temperature
        self.world = context.world
        self.queue = NeighbourQueue(options.queue_size, context) if options.queue_size else None

    def phase(self, step: int) -> Hashable:
        """Return the phase of training in step ``step``: whether nearest neighbours replace the first view."""
        return self.queue is not None and self.queue.queue.full

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """Return the loss of this process's part of the batch; for shapes see ``sslkit.ViewOutputs``."""
        logits = views.student.logits
        if self.queue is not None:
            first = self.queue.substitute(views)
            logits = tuple((new, *others) for new, (_, *others) in zip(first, logits, strict=True))

        groups = sslkit.ClassifierGroups([per_view[0].shape[1] for per_view in logits])
        pairs = len(views.pairs())
        parts = [self._compare(stacked, views.global_views, pairs) for stacked in groups.stack(logits)]
        losses, balances = zip(*parts, strict=True)
        per_classifier = groups.in_order(losses)
        return sslkit.LossOutput(
            total=per_classifier.mean(),
            terms={"class_balance": torch.cat(balances).mean()},
            per_classifier=per_classifier.detach().unbind(),
        )

    def _compare(self, logits: Tensor, global_views: int, pairs: int) -> tuple[Tensor, Tensor]:
        """Return the loss and the term ``class_balance`` of each classifier, both ``[R]``.

        Args:
            logits: logits ``[R, V, B, C]`` of R classifiers with C classes, for V views of B images.
            global_views: number of global views.
            pairs: number of ordered pairs of views with at least one global view.
        """
        batch, classes = logits.shape[2], logits.shape[3]
        columns = logits / self.column_temperature
        columns = (columns - self.world.max(columns.amax(2, keepdim=True))).exp()
        rows = (logits / self.row_temperature).softmax(3)
        column_sums, row_sums = self.world.sum(torch.stack([columns.sum(2, keepdim=True), rows.sum(2, keepdim=True)]))

        target = columns / column_sums
        target = target / target.sum(3, keepdim=True).clamp_min(EPSILON)
        images = batch * self.world.size
        prediction = (rows * (images / classes) / row_sums.clamp_min(EPSILON) + EPSILON).log()

        # Targets of global views are compared with all other views, targets of local views only with global views.
        others_of_global = prediction.sum(1, keepdim=True) - prediction[:, :global_views]
        others_of_local = prediction[:, :global_views].sum(1, keepdim=True)
        loss = -(target[:, :global_views] * others_of_global).sum((1, 2, 3))
        loss = loss - (target[:, global_views:] * others_of_local).sum((1, 2, 3))

        mean = row_sums.detach() / images
        entropy = torch.special.entr(mean).sum(3).mean((1, 2)) / math.log(classes)
        return loss / (pairs * batch), entropy
