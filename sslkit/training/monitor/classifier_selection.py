"""Which classifier a run is told by, where its head has several."""

from __future__ import annotations

import torch
from torch import Tensor

from sslkit.errors import RecipeError
from sslkit.training.learner import Learner


class ClassifierSelection:
    """The classifier of the run's head that the recipe's ``evaluation.classifier`` means.

    Attributes:
        head: name of the head; empty where no head has classifiers.
        classifiers: number of classes of each of its classifiers.
        losses: by head, what each of its classifiers lost in all of the last whole epoch ``[classifiers]``.
    """

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.wanted = learner.assembly.recipe.evaluation.classifier
        self.head = learner.assembly.head
        self.classifiers = learner.method.heads[self.head].classifiers if self.head else ()
        self.losses: dict[str, Tensor] = {}

    @property
    def place(self) -> int:
        """Its place in the head.

        ``lowest-loss`` is decided over the last whole epoch, relative to ln K, what a classifier that knows nothing
        loses: classifiers of different sizes are measured alike.  The first, while none has been trained for an epoch.
        """
        if isinstance(self.wanted, int):
            return self.wanted
        if self.head not in self.losses:
            return 0
        losses = self.losses[self.head].cpu()
        return int((losses / torch.tensor(self.classifiers).log()).argmin())

    def check(self) -> None:
        """Whether the last step told what is to be chosen by.

        Raises:
            RecipeError: it did not.
        """
        method = self.learner.method
        read = {method.head_of[name] for name in method.started(self.learner.epochs_done)}
        told = self.head not in read or self.head in self.learner.output.per_classifier
        if self.wanted == "lowest-loss" and not told:
            message = f"no loss tells the loss of each classifier of the head {self.head!r}: give its place"
            raise RecipeError([self.learner.assembly.recipe.document.problem(("evaluation", "classifier"), message)])
