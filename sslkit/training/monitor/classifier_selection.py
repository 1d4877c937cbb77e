"""Selection of the classifier that represents a run whose head has several."""

from __future__ import annotations

import torch
from torch import Tensor

from sslkit.errors import RecipeError
from sslkit.training.learner import Learner


class ClassifierSelection:
    """The classifier that the recipe's ``evaluation.classifier`` selects in the run's head.

    Attributes:
        head: name of the head; empty if no head has classifiers.
        classifiers: number of classes of each of its classifiers.
        losses: by head, the summed losses of its classifiers ``[classifiers]`` in the last complete epoch.
    """

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.setting = learner.assembly.recipe.evaluation.classifier
        self.head = learner.assembly.head
        self.classifiers = learner.method.heads[self.head].classifiers if self.head else ()
        self.losses: dict[str, Tensor] = {}

    @property
    def index(self) -> int:
        """Index of the classifier in the head.

        ``lowest-loss`` compares the losses of the last complete epoch relative to ln K, the loss of a uniform guess
        over K classes, so that classifiers of different sizes are comparable. Before that epoch it is 0.
        """
        if isinstance(self.setting, int):
            return self.setting
        if self.head not in self.losses:
            return 0
        losses = self.losses[self.head].cpu()
        return int((losses / torch.tensor(self.classifiers).log()).argmin())

    def check(self) -> None:
        """Check that the last step returned the losses that ``lowest-loss`` needs.

        Raises:
            RecipeError: it did not.
        """
        method = self.learner.method
        trained = {method.loss_heads[name] for name in method.active_losses(self.learner.epochs_completed)}
        available = self.head not in trained or self.head in self.learner.last_output.per_classifier
        if self.setting == "lowest-loss" and not available:
            message = f"no loss returns the loss of each classifier of the head {self.head!r}: give the index of one"
            raise RecipeError([self.learner.assembly.recipe.document.problem(("evaluation", "classifier"), message)])
