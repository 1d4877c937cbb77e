"""Optimizer: parameters to updates, and the learning rate over time."""

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
    """Parameters that are treated alike.

    Attributes:
        name: ``weights`` or ``bias-and-norm``.
        parameters: the parameters.
        decay: whether weight decay and trust-ratio scaling are meant for them.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    decay: bool


class Optimizer(Component, ABC):
    """Makes a ``torch.optim.Optimizer`` and a schedule that is stepped once per optimizer step."""

    def __init__(self, options: Options, context: Context) -> None:
        self.options = options
        self.context = context

    @abstractmethod
    def build(self, groups: tuple[ParameterGroup, ...]) -> torch.optim.Optimizer:
        """The optimizer over the groups."""

    @abstractmethod
    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """The learning rate over all steps.

        Its state should tell where it is, not what it was built with, which the state of torch's own schedules holds:
        a run resumed with another recipe would follow the old curve.
        """
