"""Loss: what the views of a batch are trained to agree on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from sslkit.contracts.component import Component
from sslkit.contracts.context import Context
from sslkit.contracts.options import Options
from sslkit.errors import IncompatibleComponentError

Need = Literal["features", "embeddings", "logits", "teacher"]


def _wide(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


@dataclass(frozen=True)
class BranchOutputs:
    """What one branch (student, teacher, ...) makes of the views of a batch, through one head.

    Attributes:
        features: ``[B, D]`` for each view that the branch sees, global ones first.
        embeddings: ``[B, E]`` for each view.
        logits: for each classifier, ``[B, K]`` for each view.
        classify: logits of each classifier for any embeddings ``[M, E]``, such as a queue's; where a head was looked
            through, a method hands its ``classify`` on.
    """

    features: tuple[Tensor, ...]
    embeddings: tuple[Tensor, ...] = ()
    logits: tuple[tuple[Tensor, ...], ...] = ()
    classify: Callable[[Tensor], tuple[Tensor, ...]] | None = None

    def widened(self) -> BranchOutputs:
        """The same with every tensor in float32, or float64 where it already was."""
        return replace(
            self,
            features=tuple(map(_wide, self.features)),
            embeddings=tuple(map(_wide, self.embeddings)),
            logits=tuple(tuple(map(_wide, views)) for views in self.logits),
        )


@dataclass(frozen=True)
class ViewOutputs:
    """What a loss is given: each branch's outputs of this process's part of the batch.

    Attributes:
        branches: by branch name; ``student`` is always there.
        global_views: how many views are global; these come first, local ones after them.
        index: ``[B]`` int64, the images' places in the training set.
        step: optimizer steps taken so far.
        epoch: epochs completed so far.
    """

    branches: Mapping[str, BranchOutputs]
    global_views: int
    index: Tensor
    step: int = 0
    epoch: int = 0

    @property
    def student(self) -> BranchOutputs:
        """The branch that is trained by gradient."""
        return self.branches["student"]

    @property
    def teacher(self) -> BranchOutputs:
        """The branch whose outputs are targets, for the global views alone; only where the method has one."""
        return self.branches["teacher"]

    def pairs(self) -> list[tuple[int, int]]:
        """Ordered pairs ``(i, j)``, i ≠ j, of views of which at least one is global."""
        count = len(self.student.features)
        return [(i, j) for i in range(count) for j in range(count) if i != j and min(i, j) < self.global_views]

    def widened(self) -> ViewOutputs:
        """The same with every tensor in float32, or float64 where it already was."""
        return replace(self, branches={name: branch.widened() for name, branch in self.branches.items()})


@dataclass(frozen=True)
class LossOutput:
    """A loss and what it is made of.

    Attributes:
        total: scalar to minimise.
        terms: named scalars to log; they need no gradient.
        per_classifier: scalar loss of each classifier, where the loss can tell; lets evaluation pick the classifier
            that was learned best without looking at labels.
    """

    total: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    per_classifier: tuple[Tensor, ...] = ()


class Loss(Component, nn.Module):
    """Maps ``ViewOutputs`` to a scalar; may own parameters and buffers (a queue).

    Sees this process's part of the batch; what it needs of the global batch it asks of ``context.world``.  Its
    result is averaged over processes.  The core calls it outside autocast with tensors of at least float32.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()
    """What it reads of ``BranchOutputs`` (``teacher``: that branch); checked when the recipe is wired."""

    uses_global_batch: ClassVar[bool] = True
    """Whether several processes give the loss of one process on their joined batch; not with BatchNorm inside, say."""

    syncs_device: ClassVar[bool] = False
    """Whether the host reads values from the device in every step, which costs time there."""

    logit_temperature: float = 1.0
    """Of a loss that reads logits: the probabilities of classes that it trains are softmax(logits / this)."""

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, views: ViewOutputs) -> LossOutput:
        """The loss of one batch."""

    def __call__(self, *args: Any, **kwargs: Any) -> LossOutput:
        (views,) = args
        device = views.student.features[0].device.type
        with torch.autocast(device, enabled=False):
            result: LossOutput = super().__call__(views.widened(), **kwargs)
        self._check(result)
        return result

    def _check(self, result: object) -> None:
        """Refuse what is no loss; looks at types and shapes only, so it never waits for the device.

        Raises:
            IncompatibleComponentError: the result is no ``LossOutput``, or one of its tensors is no scalar.
        """
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        if not isinstance(result, LossOutput):
            raise IncompatibleComponentError(f"{name}.forward must return a LossOutput, not {type(result).__name__}")
        scalars = {
            "total": result.total,
            **{f"terms[{term!r}]": value for term, value in result.terms.items()},
            **{f"per_classifier[{place}]": value for place, value in enumerate(result.per_classifier)},
        }
        for what, value in scalars.items():
            if not isinstance(value, Tensor) or value.ndim:
                found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                raise IncompatibleComponentError(f"{name}: {what} must be a tensor without dimensions, not {found}")
