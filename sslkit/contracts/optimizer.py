"""Contract of an optimizer component, which builds a PyTorch optimizer and its learning-rate schedule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from sslkit.contracts.component import Component
from sslkit.contracts.context import Context
from sslkit.contracts.options import Options


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters with the same optimizer settings.

    Attributes:
        name: ``"weights"`` or ``"bias-and-norm"``.
        parameters: tuple of the parameters.
        decay: bool, whether weight decay and trust-ratio scaling apply to these parameters.
        lr_scale: float > 0, multiplier of the learning rate for these parameters, in every step.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    decay: bool
    lr_scale: float = 1.0


class Optimizer(Component, ABC):
    """Base class of optimizer components, which build a ``torch.optim.Optimizer`` and its learning-rate schedule.

    After each optimizer step, sslkit calls the schedule's ``step`` once.

    Attributes:
        capturable: bool, whether a step of the PyTorch optimizer can be captured as a CUDA graph. The optimizer must
            then work if ``lr`` of each parameter group is a scalar tensor on the GPU. A step must not sync the device,
            and must not use other Python numbers that change between steps. PyTorch's Adam optimizers need
            ``capturable=True``. If False, training on a GPU is slower. Default: False.
        options: the validated options.
        context: the ``Context`` of the training run, with facts such as ``context.total_steps``.
    """

    capturable: ClassVar[bool] = False

    def __init__(self, options: Options, context: Context) -> None:
        self.options = options
        self.context = context

    @abstractmethod
    def build(self, groups: tuple[ParameterGroup, ...]) -> torch.optim.Optimizer:
        """Return a PyTorch optimizer for the parameter groups."""

    @abstractmethod
    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """Return the learning-rate schedule of the whole training run.

        The learning rate must depend only on the step. When a run is resumed with different optimizer options or a
        different length, sslkit builds a new schedule and sets it to the current training step.
        """
