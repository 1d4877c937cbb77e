"""The TEMI loss: weighted pointwise mutual information between the class predictions of an image and its positive.

Source: Adaloglou et al., "Exploring the Limits of Deep Image Clustering using Pretrained Models", BMVC 2023,
arXiv 2303.17896, section 3, and the authors' published code.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

import sslkit
from sslkit_discovery.class_shares import ClassShares
from sslkit_discovery.classifiers import check_classifiers, normalised_entropy, select


class Temi(sslkit.Loss):
    """Pointwise mutual information (PMI) of two views' classes, weighted by the probability that the classes are equal.

    The student predicts ``p_i``, the softmax of ``logits / temperature`` of view i over the classes. The teacher
    predicts ``q_j`` in the same way for each global view j; no gradient reaches ``q_j``. If there is no teacher
    branch, ``q_j`` are the student's own predictions. The loss combines these values of a view i and a global view j,
    where j is not i:

    * ``pmi = log(sum_classes (p_i * q_j)^beta / m)``, the PMI with an exponent; an exponent below 1 spreads
      images over more classes;
    * ``weight = sum_classes q_j * q_j'``, the probability that the global views j and j' have the same class, averaged
      over all unordered pairs of global views and over all classifiers. Images whose views have different classes get a
      low weight;
    * ``m``, the moving average of the class shares: in each step, ``m <- momentum * m + (1 - momentum) * mean(q)``,
      with the mean over the global batch and the global views. ``m`` starts at 1 / K, and is updated before it is used.

    The loss of a classifier is ``-weight * pmi``, averaged over images and ordered pairs. The total is the mean over
    classifiers. All classifiers use the same ``weight``, as the heads in the paper do.

    Deviations from the paper and the authors' code:

    * the student replaces a missing teacher, so that the loss works with every method. The replacement is safe for
      good, frozen features. When training from scratch, all images can move from class to class together, faster than
      ``m`` adapts;
    * teacher and student have the same temperature, as in the authors' settings (0.1);
    * ``m`` is at least the smallest positive normal number of the data type, because the ``m`` of a class without
      images decays to 0.

    Terms: ``weight``, the mean weight; ``class_balance``, the entropy of ``m`` divided by ``ln K``, averaged over
    classifiers.

    Raises:
        sslkit.InputError: a classifier has fewer than two classes.
    """

    api = 2
    needs = frozenset({"logits"})
    min_views = 2
    min_global_views = 2

    class Options(sslkit.Options):
        beta: float = Field(0.6, gt=0, le=1)
        """Exponent of the joint probability; 1 is the plain PMI, smaller values spread images over more classes."""

        momentum: float = Field(0.9, ge=0, lt=1)
        """Momentum of the moving average of the class shares."""

        temperature: float = Field(0.1, gt=0)
        """Temperature of the softmax over classes: 0.1 for cosines, 1 for plain logits."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        check_classifiers("temi", context)
        self.beta = options.beta
        self.logit_temperature = options.temperature
        self.world = context.world
        self.groups = sslkit.ClassifierGroups(context.classifiers)
        self.shares = ClassShares(self.groups, options.momentum)

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """Return the loss of this process's part of the batch; for shapes see ``sslkit.ViewOutputs``."""
        students = self._log_probabilities(views.student.logits)
        if "teacher" in views.branches:
            targets = [log_q.detach() for log_q in self._log_probabilities(views.teacher.logits)]
        else:
            targets = [log_p[:, : views.global_views].detach() for log_p in students]
        all_shares = self._update_shares(targets)

        # A sum over classifiers of all sizes: one weight for each image.
        pairs = [(i, j) for j in range(views.global_views) for i in range(j)]
        firsts, seconds = zip(*pairs, strict=True)
        weights = [(select(log_q, firsts) + select(log_q, seconds)).exp().sum(3).mean(1).sum(0) for log_q in targets]
        weight = torch.stack(weights).sum(0) / len(views.student.logits)

        losses = [
            self._loss(log_p, log_q, shares, weight)
            for log_p, log_q, shares in zip(students, targets, all_shares, strict=True)
        ]
        per_classifier = self.groups.in_order(losses)
        balance = torch.cat([normalised_entropy(shares) for shares in all_shares])
        return sslkit.LossOutput(
            total=per_classifier.mean(),
            terms={"weight": weight.mean(), "class_balance": balance.mean()},
            per_classifier=per_classifier.detach().unbind(),
        )

    def _log_probabilities(self, logits: tuple[tuple[Tensor, ...], ...]) -> list[Tensor]:
        return [(stacked / self.logit_temperature).log_softmax(3) for stacked in self.groups.stack(logits)]

    @torch.no_grad()
    def _update_shares(self, targets: list[Tensor]) -> list[Tensor]:
        """Return the class shares ``[R, K]`` of each group of R classifiers with the same number of classes K.

        In training, first move the shares towards those of the batch.
        """
        means = [log_q.exp().mean((1, 2)) for log_q in targets]
        joined = self.world.sum(torch.cat([mean.flatten() for mean in means])) / self.world.size
        by_group = joined.split([mean.numel() for mean in means])
        return [self.shares.update(batch.view_as(mean)) for batch, mean in zip(by_group, means, strict=True)]

    def _loss(self, log_p: Tensor, log_q: Tensor, shares: Tensor, weight: Tensor) -> Tensor:
        """Return the loss ``[R]`` of R classifiers with the same number of classes.

        Args:
            log_p: logarithms ``[R, V, B, K]`` of the student's predictions.
            log_q: logarithms ``[R, G, B, K]`` of the targets of the G global views.
            shares: class shares ``[R, K]``.
            weight: weight ``[B]`` of each image.
        """
        pairs = [(i, j) for j in range(log_q.shape[1]) for i in range(log_p.shape[1]) if i != j]
        students, targets = zip(*pairs, strict=True)
        log_shares = shares.clamp_min(torch.finfo(shares.dtype).tiny).log()[:, None, None]
        joint = self.beta * (select(log_p, students) + select(log_q, targets))
        pmi = (joint - log_shares).logsumexp(3)
        return -(weight * pmi).mean((1, 2))
