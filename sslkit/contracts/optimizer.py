"""Contract of an optimizer, the factory of a torch optimizer and its learning-rate schedule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import nn

from sslkit.contracts.component import Component
from sslkit.contracts.context import Context
from sslkit.contracts.options import Options


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters with equal optimizer settings.

    Attributes:
        name: ``"weights"`` or ``"bias-and-norm"``.
        parameters: tuple of the parameters.
        decay: bool, whether weight decay and trust-ratio scaling apply to them.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    decay: bool


class Optimizer(Component, ABC):
    """Base class of optimizer components: factories of a ``torch.optim.Optimizer`` and its schedule.

    sslkit steps the schedule once after each optimizer step.

    Attributes:
        options: the validated options.
        context: the runtime facts, such as ``context.total_steps``.
    """

    def __init__(self, options: Options, context: Context) -> None:
        self.options = options
        self.context = context

    @abstractmethod
    def build(self, groups: tuple[ParameterGroup, ...]) -> torch.optim.Optimizer:
        """Return a torch optimizer of the parameter groups."""

    @abstractmethod
    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """Return the learning-rate schedule over all steps.

        The schedule must be a function of the step. When a run is resumed with other options of the optimizer or
        another length of the training, sslkit builds a new schedule and steps it to the run's position.
        """
