"""Select the classifier that evaluation uses if the head has more than one."""

from __future__ import annotations

import torch
from torch import Tensor

from sslkit.contracts.method import MethodOutput
from sslkit.errors import RecipeError
from sslkit.training.learner import Learner


class ClassifierSelection:
    """Selection of a classifier by the recipe's ``evaluation.classifier``.

    Attributes:
        head: name of the head for evaluation, or ``""`` if there are no heads.
        classifiers: number of classes of each classifier of this head.
        losses: mapping from head name to a tensor with one value per classifier, the classifier's losses summed over
            the latest complete epoch.
    """

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.setting = learner.assembly.recipe.evaluation.classifier
        self.head = learner.assembly.head
        self.classifiers = learner.method.heads[self.head].classifiers if self.head else ()
        self.losses: dict[str, Tensor] = {}

    @property
    def index(self) -> int:
        """Index of the selected classifier in the head.

        ``lowest-loss`` selects the classifier with the lowest loss in the latest complete epoch. Losses are divided by
        ln K, the loss of a uniform guess over K classes, to compare classifiers with different numbers of classes.
        Before the first complete epoch, the index is 0.
        """
        if isinstance(self.setting, int):
            return self.setting
        if self.head not in self.losses:
            return 0
        losses = self.losses[self.head].cpu()
        return int((losses / torch.tensor(self.classifiers).log()).argmin())

    def check(self, output: MethodOutput) -> None:
        """Check that a step returned the loss of each classifier, if the setting is ``lowest-loss``.

        Args:
            output: the method's output in the current step.

        Raises:
            RecipeError: no loss of the recipe returns a value for each classifier.
        """
        method = self.learner.method
        trained = {method.loss_heads[name] for name in method.active_losses(self.learner.epochs_completed)}
        untrained = self.head not in trained and not method.own_objective
        available = untrained or self.head in output.per_classifier
        if self.setting == "lowest-loss" and not available:
            message = f"no loss returns the loss of each classifier of the head {self.head!r}: give the index of one"
            raise RecipeError([self.learner.assembly.recipe.document.problem(("evaluation", "classifier"), message)])
