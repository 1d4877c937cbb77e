"""The SCAN loss: an image and its positive get the same class, and all classes are used.

Source: Van Gansbeke et al., "SCAN: Learning to Classify Images without Labels", ECCV 2020, arXiv 2005.12320.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

import sslkit
from sslkit_discovery.classifiers import check_classifiers, normalised_entropy, select


class Scan(sslkit.Loss):
    """Consistency of the class predictions of two views, minus the entropy of the mean prediction.

    ``p_i`` is the softmax of ``logits / temperature`` of view i over the classes. The loss of a classifier is the sum
    of

    * the consistency ``-log(sum_classes p_i * p_j)``, averaged over images and unordered pairs of views i, j with at
      least one global view (first term of the paper's equation 2);
    * ``entropy_weight * sum_classes m * log(m)``, where ``m`` is the mean of ``p_i`` over the global batch and the
      global views (second term of equation 2).

    The total is the mean over classifiers. Its minimum is ``-entropy_weight * ln K``. At the minimum, predictions are
    certain, views agree, and images are spread evenly over K classes. In the paper, the views are an augmented image
    and an augmented nearest neighbour of the image.

    Deviations from the paper and the authors' code:

    * ``m`` is a mean over all global views, not over the first view only, so that the order of the views does not
      matter;
    * ``m`` is a mean over the global batch of all processes;
    * the logarithms are not clamped: the authors clamp ``m`` at 1e-8, and the logarithm in the consistency term at
      -100, where the gradient is 0;
    * classifiers are averaged instead of summed, so that the best learning rate does not depend on the number of
      classifiers;
    * ``temperature``: the paper uses plain logits, but the logits of sslkit's heads are cosines.

    Terms, each averaged over classifiers: ``consistency``, and ``class_balance``, the entropy of ``m`` divided by
    ``ln K``.

    Raises:
        sslkit.InputError: a classifier has fewer than two classes.
    """

    api = 2
    needs = frozenset({"logits"})
    min_views = 2

    class Options(sslkit.Options):
        entropy_weight: float = Field(5.0, ge=0)
        """Weight of the entropy of the mean prediction; 5 is the paper's value for CIFAR-10."""

        temperature: float = Field(0.1, gt=0)
        """Temperature of the softmax over classes: 0.1 for cosines, 1 for plain logits."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        check_classifiers("scan", context)
        self.entropy_weight = options.entropy_weight
        self.logit_temperature = options.temperature
        self.world = context.world

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """Return the loss of this process's part of the batch; for shapes see ``sslkit.ViewOutputs``."""
        logits = views.student.logits
        pairs = [(i, j) for i, j in views.pairs() if i < j]
        groups = sslkit.ClassifierGroups([per_view[0].shape[1] for per_view in logits])
        parts = [self._compare(stacked, pairs, views.global_views) for stacked in groups.stack(logits)]
        consistency, negative_entropy, balance = (groups.in_order(values) for values in zip(*parts, strict=True))
        per_classifier = consistency + self.entropy_weight * negative_entropy
        return sslkit.LossOutput(
            total=per_classifier.mean(),
            terms={"consistency": consistency.detach().mean(), "class_balance": balance.mean()},
            per_classifier=per_classifier.detach().unbind(),
        )

    def _compare(
        self, logits: Tensor, pairs: list[tuple[int, int]], global_views: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the consistency of the ``pairs`` of views, the negative entropy and the class balance, each ``[R]``.

        Args:
            logits: logits ``[R, V, B, K]`` of R classifiers with K classes.
            pairs: indices of the compared views.
            global_views: number of global views.
        """
        log_p = (logits / self.logit_temperature).log_softmax(3)
        first, second = (select(log_p, side) for side in zip(*pairs, strict=True))
        consistency = -(first + second).logsumexp(3).mean((1, 2))

        mean = self.world.sum(log_p[:, :global_views].exp().mean((1, 2))) / self.world.size
        # The logarithm needs no gradient: the mean sums to 1, so its part of the gradient is 0. Without the gradient,
        # classes that have no image give finite values.
        log_mean = mean.detach().clamp_min(torch.finfo(mean.dtype).tiny).log()
        return consistency, (mean * log_mean).sum(1), normalised_entropy(mean.detach())
