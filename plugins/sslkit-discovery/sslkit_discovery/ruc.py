"""The RUC loss: two networks learn from pseudo-labels of an earlier run, and correct the labels for each other.

Source: Park et al., "Improving Unsupervised Image Clustering With Robust Learning", CVPR 2021, arXiv 2012.11150, and
the authors' published code.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

import sslkit
from sslkit_discovery.classifiers import check_classifiers
from sslkit_discovery.clean_images import Selection, clean_images
from sslkit_discovery.co_training import co_targets, mean_over_classes, mix_with_next, mixing_weight
from sslkit_discovery.second_classifiers import SecondClassifiers
from sslkit_discovery.stored_labels import StoredLabels

FIRST_RAMP = 0.1
"""Factor of ``unclean_weight`` in the first tenth of the training, as in the authors' code."""


class Ruc(sslkit.Loss):
    """Robust learning from pseudo-labels, some of which are wrong.

    Before the first step, each classifier of the head predicts a pseudo-label for every training image. An image is
    *clean* if its pseudo-label is probably right; see ``clean_images``. The loss stores the labels of clean images, and
    trains a second classifier for each classifier of the head; see ``SecondClassifiers``. The head's classifiers and
    the second classifiers are the two networks of the paper. They compute targets for each other, without gradient; see
    ``co_targets``. The first ``weak_views`` views are weakly augmented, and the others strongly. ``p`` is the softmax
    of ``logits / temperature``. The loss of a network is the sum of

    * ``refinement``: the cross-entropy of ``p`` with the target, averaged over clean images and weak views;
    * ``guessing``: the squared difference between ``p`` and the target, averaged over classes, unclean images and weak
      views, times ``unclean_weight * max(0.1, fraction of training that is completed)``;
    * ``smoothing``: the cross-entropy of the strong views' ``p`` with the smoothed label, averaged over clean images
      and strong views. The smoothed label is ``1 - label_smoothing`` for the label, and ``label_smoothing / (K - 1)``
      for each other class.

    ``refinement`` and ``guessing`` use Mixup: in each step, logits and targets of an image are mixed with those of the
    next image in the batch. The weight of the image itself is ``max(l, 1 - l)``, with ``l`` from Beta(mixup, mixup).

    The total is the sum of both networks' losses, averaged over the head's classifiers. After the loss of a batch is
    computed, an unclean image becomes clean if both networks predict the same class for its first view, with
    probabilities of at least ``promotion_threshold`` (co-refurbishing). This class is its label from then on.

    Use the loss in a run that continues an earlier run, with ``sslkit train RECIPE --continue-from RUN``.

    Deviations from the paper and the authors' code:

    * Mixup mixes the inputs of the classifiers instead of images, because a loss cannot mix images. The classifiers are
      linear, so mixing their inputs mixes their logits;
    * the second network is a linear classifier on backbone features instead of a second backbone. It starts from the
      class centres instead of random weights. Only the head is evaluated;
    * the confidence ``w`` in ``co_targets`` is that of the same step. The authors use that of the previous epoch,
      scaled to [0, 1] over all images, and 0 in the first epoch;
    * an image becomes clean if both networks are confident. In the authors' code, one network is enough;
    * nearest neighbours, without the image itself, are found in backbone features instead of SimCLR features;
    * ``temperature``: the paper uses plain logits, but the logits of sslkit's heads are cosines.

    ``LossOutput.per_classifier`` is the cross-entropy of the head's ``p`` with its target, without Mixup. The class of
    an image is the most probable class of its target. The cross-entropy is averaged over weak views, then over the
    images of each class, and then over the K classes. A class without images in the batch counts as ``ln K``, the loss
    of a uniform guess, so that ``classifier = "lowest-loss"`` avoids classifiers that put all images into one class.

    Terms, each averaged over classifiers: ``refinement``, ``guessing`` and ``smoothing``, averaged over both networks;
    ``clean``, the fraction of the training images that are clean; ``agreement``, the fraction of the batch for which
    both networks predict the same class from the first view; ``smallest_class``, the number of clean images in the
    smallest class, divided by the mean over classes. A value that falls towards 0 means that a class is vanishing.

    Raises:
        sslkit.InputError: there are no more than ``weak_views`` views; a classifier has fewer than two classes; the
            number of training images is not known; or there are no more than ``neighbours`` training images.
    """

    api = 2
    needs = frozenset({"features", "logits"})
    min_views = 2
    needs_initial_outputs = True

    class Options(sslkit.Options):
        selection: Selection = "hybrid"
        """Criterion of a clean image: "confidence", "neighbours", or "hybrid" for both."""

        threshold: float = Field(0.99, ge=0, lt=1)
        """Smallest probability of the pseudo-label of a clean image."""

        neighbours: int = Field(100, ge=1, le=10_000)
        """Number of nearest neighbours, among which no class may be more frequent than that of a clean image."""

        promotion_threshold: float = Field(0.99, ge=0, le=1)
        """Smallest probability, in both networks, of the class of an unclean image that becomes clean."""

        label_smoothing: float = Field(0.5, ge=0, lt=1)
        """Part of the smoothed label that is spread over the other classes."""

        sharpening: float = Field(0.5, gt=0, le=1)
        """Temperature that sharpens targets; 1 means no sharpening."""

        unclean_weight: float = Field(25.0, ge=0)
        """Weight of the loss of unclean images at the end of training."""

        mixup: float = Field(4.0, ge=0)
        """Parameter of the Beta distribution of the mixing weight; 0 means no Mixup."""

        weak_views: int = Field(1, ge=1)
        """Number of weakly augmented views, which are the first ones."""

        temperature: float = Field(0.1, gt=0)
        """Temperature of the softmax over classes: 0.1 for cosines, 1 for plain logits."""

    @classmethod
    def check_options(cls, folder: Path) -> Mapping[str, Any]:
        # All images are clean, so that gradients reach all strong views. Mixup depends on the order of the images.
        return {"selection": "confidence", "threshold": 0.0, "mixup": 0.0}

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        check_classifiers("ruc", context)
        if 0 < context.view_count <= options.weak_views:
            raise sslkit.InputError(
                f"the ruc loss needs strong views: weak_views is {options.weak_views}, but each image has "
                f"{context.view_count} views"
            )
        if not context.training_images:
            raise sslkit.InputError("the ruc loss stores a label for each training image, but their number is 0")
        self.options = options
        self.logit_temperature = options.temperature
        self.total_steps = context.total_steps
        self.seed, self.steps_before = context.seed, context.steps_before
        self.world = context.world
        self.groups = sslkit.ClassifierGroups(context.classifiers)
        sizes = [(len(group), classes) for group, classes in zip(self.groups.indices, self.groups.sizes, strict=True)]
        self.labels = nn.ModuleList(StoredLabels(*size, context.training_images, context.world) for size in sizes)
        self.second = nn.ModuleList(SecondClassifiers(*size, context.feature_dim) for size in sizes)

    def _networks(self) -> list[tuple[StoredLabels, SecondClassifiers]]:
        """Return the stored labels and the second classifiers for each group in ``self.groups``."""
        return list(zip(self.labels, self.second, strict=True))  # type: ignore[arg-type]  # ModuleList is not generic

    def prepare(self, outputs: sslkit.BranchOutputs) -> None:
        """Find the clean images of each classifier, and start the second classifiers at the class centres."""
        options, without = self.options, 0
        (features,) = outputs.features
        for stacked, (stored, second) in zip(self.groups.stack(outputs.logits), self._networks(), strict=True):
            logits = stacked[:, 0]
            predicted, clean = clean_images(
                logits / options.temperature, features, options.selection, options.threshold, options.neighbours
            )
            stored.set_all(torch.where(clean, predicted, -1))
            second.start_at_centres(features, predicted, clean, logits)
            without += int((~clean).all(1).sum())
        if without:
            warnings.warn(
                f"the ruc loss: {without} classifiers have no clean image: continue a trained run with "
                "--continue-from RUN, or set a lower loss.threshold",
                stacklevel=2,
            )

    def scheduled(self, step: int) -> Mapping[str, float]:
        """Return the weight of the loss of unclean images and, with Mixup, an image's own weight in the mixture."""
        options = self.options
        values = {"unclean_weight": options.unclean_weight * max(FIRST_RAMP, step / self.total_steps)}
        if options.mixup:
            values["mixing"] = mixing_weight(options.mixup, self.seed, self.steps_before + step)
        return values

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """Return the loss of this process's part of the batch; for shapes see ``sslkit.ViewOutputs``."""
        features = torch.stack(views.student.features)
        unclean_weight, mixing = views.scheduled["unclean_weight"], views.scheduled.get("mixing")
        parts = [
            self._co_train(torch.stack([logits, second(features)]), stored, views.index, unclean_weight, mixing)
            for logits, (stored, second) in zip(self.groups.stack(views.student.logits), self._networks(), strict=True)
        ]
        losses, scores, *terms = (self.groups.in_order(values) for values in zip(*parts, strict=True))
        names = ("refinement", "guessing", "smoothing", "agreement", "clean", "smallest_class")
        return sslkit.LossOutput(
            total=losses.mean(),
            terms={name: values.detach().mean() for name, values in zip(names, terms, strict=True)},
            per_classifier=scores.detach().unbind(),
        )

    def _co_train(
        self, logits: Tensor, stored: StoredLabels, index: Tensor, unclean_weight: Tensor, mixing: Tensor | None
    ) -> list[Tensor]:
        """Return the loss, the value for classifier selection, and the values of the terms, each ``[R]``.

        In training, also store the labels of images that become clean.

        Args:
            logits: tensor ``[2, R, V, B, K]``, the logits of both networks.
            stored: labels of the clean images.
            index: int64 tensor ``[B]``, the index of each image in the training set.
            unclean_weight: weight of the loss of unclean images, which is the term ``guessing``.
            mixing: weight of the image itself in Mixup; None means no Mixup.
        """
        options, classes = self.options, logits.shape[4]
        logits = logits / self.logit_temperature
        weak, strong = logits[:, :, : options.weak_views], logits[:, :, options.weak_views :]
        p = weak.detach().softmax(4)
        label = stored.stored(index)
        every_class = torch.arange(classes, device=index.device)
        onehot = (label[:, :, None] == every_class).to(p.dtype)
        clean = onehot.sum(2)
        target = co_targets(p, onehot, options.sharpening)
        number_clean = self.world.sum(clean.sum(1))[:, None]
        # sslkit averages over processes; the factor makes this a sum.
        clean_weights = clean / number_clean.clamp_min(1) * self.world.size
        unclean_weights = (1 - clean) / (len(index) * self.world.size - number_clean).clamp_min(1) * self.world.size

        joined = torch.cat([weak, target[:, :, None]], dim=2).movedim(3, 0)  # [B, 2, R, M + 1, K]
        mixed = mix_with_next(joined, mixing, self.world).movedim(0, 3)
        log_p, mixed_target = mixed[:, :, :-1].log_softmax(4), mixed[:, :, -1:]
        refinement = (clean_weights * -(mixed_target * log_p).sum(4).mean(2)).sum(2)
        guessing = (unclean_weights * (log_p.exp() - mixed_target).square().mean((2, 4))).sum(2)
        smoothed = onehot * (1 - options.label_smoothing) + (1 - onehot) * (options.label_smoothing / (classes - 1))
        smoothing = (clean_weights * -(smoothed[:, None] * strong.log_softmax(4)).sum(4).mean(2)).sum(2)
        loss = (refinement + unclean_weight * guessing + smoothing).sum(0)

        agreement = self._promote(p[:, :, 0], label, stored, index)
        terms = [refinement.mean(0), guessing.mean(0), smoothing.mean(0), agreement]
        terms += [stored.sizes.sum(1) / stored.labels.shape[1], stored.smallest_class()]
        return [loss, mean_over_classes(weak[0].detach(), target[0], self.world), *(term.to(p.dtype) for term in terms)]

    @torch.no_grad()
    def _promote(self, p: Tensor, label: Tensor, stored: StoredLabels, index: Tensor) -> Tensor:
        """In training, mark unclean images as clean if both networks confidently predict the same class.

        Args:
            p: predictions ``[2, R, B, K]`` of both networks for the first view.
            label: labels ``[R, B]``; -1 for unclean images.
            stored: labels of the clean images.
            index: int64 tensor ``[B]``, the index of each image in the training set.

        Returns:
            Tensor ``[R]``, the fraction of images on which both networks agree.
        """
        confidence, predicted = p.max(3)
        agree = predicted[0] == predicted[1]
        promoted = (label < 0) & agree & (confidence.amin(0) >= self.options.promotion_threshold)
        if self.training:
            stored.update(torch.where(promoted, predicted[0], label), index)
        return agree.to(p.dtype).mean(1)
