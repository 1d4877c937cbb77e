"""The SeLa loss: cross-entropy with labels from an equal partition of all training images.

Source: Asano, Rupprecht, Vedaldi, "Self-labelling via simultaneous clustering and representation learning", ICLR 2020,
arXiv 1911.05371, and the authors' published code.
"""

from __future__ import annotations

from collections.abc import Hashable

import torch
from pydantic import Field
from torch import Tensor, nn

import sslkit
from sslkit_discovery.classifiers import check_classifiers
from sslkit_discovery.offline_clustering.equal_partition import equal_partition
from sslkit_discovery.offline_clustering.label_cross_entropy import label_cross_entropy
from sslkit_discovery.offline_clustering.stored_embeddings import StoredEmbeddings
from sslkit_discovery.stored_labels import StoredLabels


class SeLa(sslkit.Loss):
    """Cross-entropy between predictions and labels that divide the training images equally among the classes.

    The loss stores the embedding of the first view of each training image. In ``assignments`` steps of the training,
    each classifier of the head labels all images: the labels maximise ``log p`` of the stored embeddings, while all
    classes have nearly the same size; see ``equal_partition``. ``p`` is ``softmax(logits / temperature)``. Between
    these steps, labels are fixed. Assignment i of n, counted from 0, is at the fraction ``(i / n)^2`` of the training,
    as in the authors' code, so that labels change more often at the start.

    The loss of a classifier is the cross-entropy between ``p`` and the label, averaged over images and views. The total
    is the mean over classifiers.

    Deviations from the paper and the authors' code:

    * assignments use the embedding of each image from its latest batch or, before its first batch, the embedding of the
      unaugmented image. The authors encode all images again for each assignment;
    * the number of Sinkhorn iterations is fixed; the authors iterate until the weights change little, which a GPU can
      only check with a device sync;
    * ``temperature``: the paper uses plain logits, but the logits of sslkit's heads are cosines;
    * any number of views; the authors have one view.

    Terms, each averaged over classifiers: ``changed``, the fraction of the training images whose label changed in the
    latest assignment; ``agreement``, the fraction of the batch whose first view is classified as its label;
    ``smallest_class``, the size of the smallest class divided by the mean size N / K.

    Raises:
        sslkit.InputError: a classifier has fewer than two classes; the number of training images is not known; or, in
            the first step, the method does not set ``BranchOutputs.classify``.
    """

    api = 2
    needs = frozenset({"embeddings", "logits"})
    needs_initial_outputs = True

    class Options(sslkit.Options):
        temperature: float = Field(0.1, gt=0)
        """Temperature of the softmax over classes: 0.1 for cosines, 1 for plain logits."""

        assignments: int = Field(100, ge=1, le=1_000_000)
        """Number of times that all images get new labels; at most once per step."""

        sharpness: float = Field(25.0, gt=0)
        """Factor of the log probabilities in Sinkhorn's algorithm (lambda in the paper)."""

        sinkhorn_iterations: int = Field(100, ge=1, le=10_000)
        """Number of Sinkhorn iterations of each assignment."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        check_classifiers("sela", context)
        if not context.training_images:
            raise sslkit.InputError("the sela loss stores a label for each training image, but their number is 0")
        self.options = options
        self.logit_temperature = options.temperature
        self.world = context.world
        # Integers, because a rounding error would move an assignment to the next step.
        self.assignment_steps = frozenset(
            -(-context.total_steps * number**2 // options.assignments**2) for number in range(options.assignments)
        )
        images = context.training_images
        self.groups = sslkit.ClassifierGroups(context.classifiers)
        self.embeddings = StoredEmbeddings(1, images, context.embedding_dim, context.world)
        self.labels = nn.ModuleList(
            StoredLabels(len(group), classes, images, context.world)
            for group, classes in zip(self.groups.indices, self.groups.sizes, strict=True)
        )
        self.register_buffer("changed", torch.zeros(len(self.groups.sizes)))

    changed: Tensor
    """Fraction of the images whose label changed in the latest assignment, for each group of classifiers."""

    def prepare(self, outputs: sslkit.BranchOutputs) -> None:
        """Store the initial embeddings of all images, for the first assignment."""
        self.embeddings.set_all(outputs.embeddings[0])

    def phase(self, step: int) -> Hashable:
        """Return whether the step starts with an assignment."""
        return step in self.assignment_steps

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """Return the loss of this process's part of the batch; for shapes see ``sslkit.ViewOutputs``."""
        if self.training and self.phase(views.step):
            self._assign(views.student)
        losses, agreements, smallest = [], [], []
        for logits, labels in zip(self.groups.stack(views.student.logits), self.labels, strict=True):
            assert isinstance(labels, StoredLabels)
            label = labels.stored(views.index)
            losses.append(label_cross_entropy(logits / self.logit_temperature, label, self.world))
            agreements.append((logits[:, 0].argmax(2) == label).to(logits.dtype).mean(1))
            smallest.append(labels.smallest_class().to(logits.dtype))
        if self.training:
            self.embeddings.update(views.student.embeddings[0][None], views.index)
        per_classifier = self.groups.in_order(losses)
        return sslkit.LossOutput(
            total=per_classifier.mean(),
            terms={
                "changed": self.changed.mean(),
                "agreement": torch.cat(agreements).mean(),
                "smallest_class": torch.cat(smallest).mean(),
            },
            per_classifier=per_classifier.detach().unbind(),
        )

    @torch.no_grad()
    def _assign(self, student: sslkit.BranchOutputs) -> None:
        """Give all images new labels."""
        if student.classify is None:
            raise sslkit.InputError("the sela loss needs BranchOutputs.classify, which the method does not set")
        (rows,) = self.embeddings.rows
        factor = self.options.sharpness / self.options.temperature
        classes = equal_partition(rows, student.classify, self.groups, factor, self.options.sinkhorn_iterations)
        for number, (stored, new) in enumerate(zip(self.labels, classes, strict=True)):
            assert isinstance(stored, StoredLabels)
            # After resuming with other training images, some images have no embedding yet.
            label = torch.where(rows.any(1), new, -1)
            self.changed[number] = (label != stored.labels).to(self.changed.dtype).mean()
            stored.set_all(label)
