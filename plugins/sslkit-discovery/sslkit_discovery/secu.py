"""The SeCu loss: cross-entropy that uses each image's class from the previous epoch, with a lower bound on class sizes.

Source: Qian, "Stable Cluster Discrimination for Deep Clustering", ICCV 2023, arXiv 2311.14310, and the published code.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

import sslkit
from sslkit_discovery.assignments import Assignments
from sslkit_discovery.classifiers import check_classifiers, select


class SeCu(sslkit.Loss):
    """Stable cluster discrimination with a size constraint.

    ``z_i`` are the logits of view i. In each step, an image gets the class ``y`` with the largest ``logit + dual``,
    where ``logit`` is the mean of ``z_i`` over the global views; for ``dual``, see ``Assignments``. The loss of a
    classifier is the sum of

    * ``centres``: the cross-entropy between ``softmax(z_i / temperature)`` and ``y``, averaged over images and views.
      This term trains only the classifier, and only through the logit of class ``y``; the other logits are constants
      (equation 5), so that a class without images in the batch is not pushed away. The weight of an image's gradient is
      ``1 - softmax(z_i / temperature)[y]``, so that hard images have a larger weight;
    * ``prediction``: the cross-entropy between ``softmax(z_i / temperature)`` and the soft label
      ``label_weight * onehot(previous) + (1 - label_weight) * softmax(z_j / temperature)``, averaged over images and
      over pairs of view i and a global view j, where j is not i. ``previous`` is the image's class from the previous
      epoch; in the first epoch, it is ``y``. This term trains only the embeddings, and no gradient reaches the soft
      label.

    The total is the mean over classifiers. The paper trains ten classifiers with 10 to 100 classes for CIFAR-10.
    ``LossOutput.per_classifier`` is half the sum, so that a uniform guess has the value ``ln K``.

    Deviations from the paper and the authors' code:

    * ``prediction`` uses the current classifier; the authors use a copy from the start of the epoch. A loss cannot copy
      the weights of a head;
    * one optimizer trains all weights; the authors train the classifiers with a larger learning rate;
    * the authors have two views; local views are trained in the same way, but do not determine classes or soft labels;
    * classes have only a size constraint; the paper also has an entropy constraint.

    The default of ``dual_lr`` is the paper's value for cosines. Use a head with cosine logits, such as ``selfcls-mlp``
    with ``train_gain = false``.

    Terms, each averaged over classifiers:

    * ``prediction`` and ``centres``: the two parts of the loss;
    * ``changed``: the fraction of the batch whose class differs from that of the previous epoch; 1 in the first epoch;
    * ``smallest_class``: the size of the smallest class among the stored labels, divided by the mean size N / K. The
      constraint is met if ``smallest_class`` is at least ``lower_bound``.

    Raises:
        sslkit.InputError: a classifier has fewer than two classes; the number of
            training images is not known; or, in the first step, the method does not set ``BranchOutputs.classify``.
    """

    api = 2
    needs = frozenset({"embeddings", "logits"})
    min_views = 2

    class Options(sslkit.Options):
        temperature: float = Field(0.05, gt=0)
        """Temperature of the softmax over classes: 0.05 for cosines."""

        label_weight: float = Field(0.2, ge=0, le=1)
        """Weight of the previous epoch's class in the soft label; the other view's prediction has the remainder."""

        lower_bound: float = Field(0.9, ge=0, le=1)
        """Lower bound on class sizes, as a fraction of the mean size; 0 means no constraint, 1 means equal sizes."""

        dual_lr: float = Field(0.1, ge=0)
        """Step size of the dual variables that enforce the lower bound."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        check_classifiers("secu", context)
        if not context.training_images:
            raise sslkit.InputError("the secu loss stores a label for each training image, but their number is 0")
        self.label_weight = options.label_weight
        self.logit_temperature = options.temperature
        self.world = context.world
        self.groups = sslkit.ClassifierGroups(context.classifiers)
        self.assignments = nn.ModuleList(
            Assignments(
                len(group),
                classes,
                context.training_images,
                options.lower_bound,
                options.dual_lr,
                context.world,
            )
            for group, classes in zip(self.groups.indices, self.groups.sizes, strict=True)
        )

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """Return the loss of this process's part of the batch; for shapes see ``sslkit.ViewOutputs``."""
        student = views.student
        if student.classify is None:
            raise sslkit.InputError("the secu loss needs BranchOutputs.classify, which the method does not set")
        # The logits of detached embeddings have the same values, and train only the classifier.
        by_classifier = student.classify(torch.cat(student.embeddings).detach())
        detached = [logits.to(student.embeddings[0].dtype).chunk(len(student.embeddings)) for logits in by_classifier]
        predictions, centres, changes, smallest = [], [], [], []
        stacks = zip(self.groups.stack(student.logits), self.groups.stack(detached), self.assignments, strict=True)
        for student_logits, classifier_logits, assignments in stacks:
            assert isinstance(assignments, Assignments)
            # The gradients of the last two terms with respect to the classifier cancel: this trains only embeddings.
            embedding_logits = student_logits - classifier_logits + classifier_logits.detach()
            label = assignments.assign(classifier_logits[:, : views.global_views].mean(1))
            stored = assignments.stored(views.index)
            last = torch.where(stored < 0, label, stored)
            if self.training:
                assignments.update(label, views.index)
            centres.append(self._centres(classifier_logits, label))
            predictions.append(self._prediction(embedding_logits, last, views.global_views))
            changes.append((label != stored).to(classifier_logits.dtype).mean(1))
            smallest.append(assignments.smallest_class().to(classifier_logits.dtype))
        prediction, centre = (self.groups.in_order(values) for values in (predictions, centres))
        per_classifier = prediction + centre
        return sslkit.LossOutput(
            total=per_classifier.mean(),
            terms={
                "prediction": prediction.detach().mean(),
                "centres": centre.detach().mean(),
                "changed": torch.cat(changes).mean(),
                "smallest_class": torch.cat(smallest).mean(),
            },
            per_classifier=(per_classifier.detach() / 2).unbind(),
        )

    def _centres(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the loss term ``centres`` ``[R]``, the cross-entropy of each view with the image's current class.

        Args:
            logits: tensor ``[R, V, B, K]`` of R classifiers for V views, computed from detached embeddings.
            label: int64 tensor ``[R, B]``, the current class of each image.
        """
        chosen = label[:, None, :, None].expand(-1, logits.shape[1], -1, 1)
        positive = logits.gather(3, chosen)
        scaled = logits.detach().scatter(3, chosen, positive) / self.logit_temperature
        return -scaled.log_softmax(3).gather(3, chosen).mean((1, 2, 3))

    def _prediction(self, logits: Tensor, last: Tensor, global_views: int) -> Tensor:
        """Return the loss term ``prediction`` ``[R]``: the cross-entropy of each view with soft labels of other views.

        Args:
            logits: tensor ``[R, V, B, K]`` of R classifiers for V views.
            last: int64 tensor ``[R, B]``, the class of each image in the previous epoch, or its current
                class if there is no previous one.
            global_views: number of global views, which come first.
        """
        log_p = (logits / self.logit_temperature).log_softmax(3)
        pairs = [(i, j) for j in range(global_views) for i in range(logits.shape[1]) if i != j]
        predicted, targets = zip(*pairs, strict=True)
        soft = (1 - self.label_weight) * select(log_p.detach().exp(), targets)
        prediction = select(log_p, predicted)
        chosen = last[:, None, :, None].expand(-1, len(pairs), -1, 1)
        return -(
            (soft * prediction).sum(3).mean((1, 2)) + self.label_weight * prediction.gather(3, chosen).mean((1, 2, 3))
        )
