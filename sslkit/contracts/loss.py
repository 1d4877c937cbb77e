"""Contract of a loss, the module that maps the network's outputs of all views to a scalar."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sslkit.contracts.component import Component, LossNeed
from sslkit.contracts.context import Context
from sslkit.contracts.options import Options
from sslkit.contracts.schedule import as_tensors
from sslkit.contracts.views import ViewLimits
from sslkit.errors import IncompatibleComponentError


def _wide(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


@dataclass(frozen=True)
class BranchOutputs:
    """Outputs of one branch (student, teacher, ...) and one head for the views of a batch of B images.

    Attributes:
        features: tuple of tensors ``[B, D]``, one for each view that the branch encodes, global views first.
        embeddings: tuple of tensors ``[B, E]``, one for each view, or an empty tuple if there is no head.
        logits: for each classifier, a tuple with a tensor ``[B, K]`` for each view; empty if there are no classifiers.
        classify: function that maps M embeddings ``[M, E]``, such as those in a queue, to the logits ``[M, K]`` of
            each classifier. Methods set ``classify`` to ``head.classify``. None if there is no head.
    """

    features: tuple[Tensor, ...]
    embeddings: tuple[Tensor, ...] = ()
    logits: tuple[tuple[Tensor, ...], ...] = ()
    classify: Callable[[Tensor], tuple[Tensor, ...]] | None = None

    def first_views(self, count: int) -> BranchOutputs:
        """Return a copy with the outputs of the first ``count`` views."""
        logits = tuple(views[:count] for views in self.logits)
        return replace(self, features=self.features[:count], embeddings=self.embeddings[:count], logits=logits)

    def widened(self) -> BranchOutputs:
        """Return a copy for computing losses: float16 and bfloat16 tensors are converted to float32."""
        return replace(
            self,
            features=tuple(map(_wide, self.features)),
            embeddings=tuple(map(_wide, self.embeddings)),
            logits=tuple(tuple(map(_wide, views)) for views in self.logits),
        )


@dataclass(frozen=True)
class ViewOutputs:
    """Input of a loss: the outputs of all branches for this process's part of the batch.

    Attributes:
        branches: mapping from branch name to the outputs of the branch; always contains ``"student"``.
        global_views: int, number of global views. Global views come before local views.
        index: int64 tensor ``[B]``, the index of each image in the training set.
        step: int, number of completed steps, from 0 to ``context.total_steps - 1``; see ``Context.step_offset``.
        epoch: int, number of completed epochs.
        scheduled: mapping from name to a tensor on the device, the values of ``Loss.scheduled`` in this step.
    """

    branches: Mapping[str, BranchOutputs]
    global_views: int
    index: Tensor
    step: int = 0
    epoch: int = 0
    scheduled: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def student(self) -> BranchOutputs:
        """Outputs of the branch that receives gradients."""
        return self.branches["student"]

    @property
    def teacher(self) -> BranchOutputs:
        """Outputs of the branch that provides targets and encodes only the global views.

        Raises:
            KeyError: the method has no teacher.
        """
        return self.branches["teacher"]

    def only_global(self) -> ViewOutputs:
        """Return a copy without the outputs of local views."""
        branches = {name: branch.first_views(self.global_views) for name, branch in self.branches.items()}
        return replace(self, branches=branches)

    def pairs(self) -> list[tuple[int, int]]:
        """Return all ordered pairs ``(i, j)`` of different views in which at least one view is global."""
        count = len(self.student.features)
        return [(i, j) for i in range(count) for j in range(count) if i != j and min(i, j) < self.global_views]

    def widened(self) -> ViewOutputs:
        """Return a copy for computing losses: float16 and bfloat16 tensors are converted to float32."""
        return replace(self, branches={name: branch.widened() for name, branch in self.branches.items()})


@dataclass(frozen=True)
class LossOutput:
    """Output of a loss.

    Attributes:
        total: scalar tensor to minimise.
        terms: mapping from name to a scalar tensor without gradient; logged as ``<loss>/<name>``.
        per_classifier: tuple of scalar tensors, the loss of each classifier. The classifier with the lowest loss is
            selected for evaluation, without labels. Empty if the loss does not compute a value for each classifier.
    """

    total: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    per_classifier: tuple[Tensor, ...] = ()


class Loss(Component, ViewLimits, nn.Module):
    """Base class of losses: modules that map ``ViewOutputs`` to a scalar.

    A loss receives this process's part of the batch and can gather the other parts with ``context.world``. sslkit
    averages the losses of all processes. sslkit calls the loss outside autocast, with float32 or float64 tensors. A
    loss may own parameters and buffers, such as a queue.

    Example::

        class Distance(sslkit.Loss):
            api = 2
            needs = frozenset({"embeddings"})
            min_views = max_views = 2

            def forward(self, views):
                first, second = views.student.embeddings
                return sslkit.LossOutput((first - second).square().sum(1).mean())

    Attributes:
        needs: frozenset, outputs that the loss reads: ``"features"``, ``"embeddings"``, ``"logits"``, ``"teacher"``.
            Before training, sslkit checks that the recipe provides these outputs; other names are errors. Default:
            empty.
        min_views: int, smallest number of views of each image that the loss works with, including the views of its
            positives. Before training, sslkit checks that the recipe makes enough views. Default: 1.
        max_views: int, largest number of views that the loss works with. A loss of exactly two views sets both
            ``min_views`` and ``max_views`` to 2. Default: None, no limit.
        min_global_views: int, smallest number of global views that the loss works with. Default: 1.
        global_views_only: bool, whether the loss reads only global views. ``ViewOutputs``, ``context.view_count``,
            ``min_views`` and ``max_views`` then ignore local views. Default: False.
        uses_global_batch: bool, whether multiple processes compute the same loss as one process would on the global
            batch. Set the attribute to False otherwise, for example with BatchNorm inside the loss. Default: True.
        syncs_device: bool, whether each step copies values from the device to the host, which slows training. Default:
            False.
        first_view_is_target: bool, whether the first view only provides targets, so that no gradient reaches it.
            Default: False.
        needs_initial_outputs: bool, whether sslkit calls ``prepare`` before the first step. Default: False.
        logit_temperature: float > 0, temperature of the class probabilities softmax(logits / logit_temperature), for
            losses that read logits. Default: 1.
    """

    needs: ClassVar[frozenset[LossNeed]] = frozenset()
    uses_global_batch: ClassVar[bool] = True
    syncs_device: ClassVar[bool] = False
    first_view_is_target: ClassVar[bool] = False
    needs_initial_outputs: ClassVar[bool] = False
    logit_temperature: float = 1.0

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__()

    def prepare(self, outputs: BranchOutputs) -> None:
        """Set the values of buffers and parameters from the initial network's outputs for all training images.

        If ``needs_initial_outputs`` is True, sslkit calls this method once, before the first step of a run, with equal
        outputs in all processes. A resumed run loads the buffers and parameters from the checkpoint instead, so
        ``prepare`` must not change their shapes.

        Args:
            outputs: outputs of backbone and head for the N unaugmented training images, as a single view with B = N.
                The image at row i has the index i in ``ViewOutputs.index``. The tensors are float32, on the CPU and
                without gradient. They are computed in eval mode, with the weights that the run starts from.

        Raises:
            InputError: the loss cannot be used with these images.
        """

    @abstractmethod
    def forward(self, views: ViewOutputs) -> LossOutput:
        """Return the loss of a batch."""

    def phase(self, step: int) -> Hashable:
        """Return the phase of training in step ``step``: a value that changes when the computation of the loss changes.

        On a GPU, sslkit captures one step of each phase as a CUDA graph and replays the graph in the other steps of the
        phase. Replayed steps use the operators and Python numbers of the captured step. Return, for example, whether a
        queue is full. A value that changes in every step, such as a temperature during warm-up, belongs in
        ``scheduled``. Default: a single phase.

        With multiple processes, all steps of a phase must train the same parameters, in all processes.
        """
        return None

    def scheduled(self, step: int) -> Mapping[str, float | Tensor]:
        """Return the values for step ``step`` that change in every step, such as a temperature.

        Values are numbers, or tensors on the CPU, such as random directions. ``forward`` reads the values from
        ``views.scheduled``, as tensors on the device, because a CUDA graph would reuse the numbers of the captured
        step. Names, shapes and dtypes must be the same in all steps. Default: none.
        """
        return {}

    def __call__(self, *args: Any, **kwargs: Any) -> LossOutput:
        (views,) = args
        if self.global_views_only:
            views = views.only_global()
        features = views.student.features[0]
        if not views.scheduled:
            dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
            views = replace(views, scheduled=as_tensors(self.scheduled(views.step), features.device, dtype))
        with torch.autocast(features.device.type, enabled=False):
            result: LossOutput = super().__call__(views.widened(), **kwargs)
        self._check(result)
        return result

    def _check(self, result: object) -> None:
        """Check the types and shapes of the output, without a device sync.

        Raises:
            IncompatibleComponentError: the result is not a ``LossOutput``, or one of its tensors is not a scalar.
        """
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        if not isinstance(result, LossOutput):
            raise IncompatibleComponentError(f"{name}.forward must return a LossOutput, not {type(result).__name__}")
        scalars = {
            "total": result.total,
            **{f"terms[{term!r}]": value for term, value in result.terms.items()},
            **{f"per_classifier[{index}]": value for index, value in enumerate(result.per_classifier)},
        }
        for field_name, value in scalars.items():
            if not isinstance(value, Tensor) or value.ndim:
                actual = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                raise IncompatibleComponentError(f"{name}: {field_name} must be a scalar tensor, not {actual}")
