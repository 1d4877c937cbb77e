"""Learning-rate schedule, and the base class of the built-in optimizers."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch.optim.lr_scheduler import LRScheduler

from sslkit.contracts.context import Context
from sslkit.contracts.duration import Epochs, count_epochs
from sslkit.contracts.optimizer import Optimizer, ParameterGroup
from sslkit.contracts.options import Options
from sslkit.contracts.schedule import cosine_decay
from sslkit.errors import OptionError


class ScheduledOptions(Options):
    """Options of all built-in optimizers; each optimizer sets its own defaults for ``lr`` and ``weight_decay``."""

    lr: float = Field(gt=0)
    """Peak learning rate, not scaled with the batch size."""
    weight_decay: float = Field(ge=0)
    """Weight decay of weights; biases and normalisation layers have none."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate after the warm-up: "cosine" decays from lr to final_lr along a half cosine, "constant" keeps lr."""
    warmup_epochs: Epochs = 0.0
    """Length of the linear warm-up from warmup_lr to lr: a number of epochs, such as 0.5, or a percentage of the
    training run, such as "10%"."""
    warmup_lr: float = Field(default=0.0, ge=0)
    """Learning rate of the first step of the warm-up."""
    final_lr: float = Field(default=0.0, ge=0)
    """Learning rate of the final step of the cosine schedule."""


class Schedule(LRScheduler):
    """Linear warm-up, then a half cosine (Loshchilov & Hutter, ICLR 2017, eq. 5, one cycle) or a constant rate.

    The learning rate depends only on the step. If a run is resumed with more epochs, the
    learning rate jumps to the value that the longer cosine has at this step.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, options: ScheduledOptions, context: Context) -> None:
        self.options = options
        self.total_steps = context.total_steps
        self.warmup_steps = round(count_epochs(options.warmup_epochs, context.epochs) * context.steps_per_epoch)
        super().__init__(optimizer)

    def lr_at(self, step: int) -> float:
        """Return the learning rate of optimizer step ``step``, counted from 0.

        The result is ``lr`` at the first step after the warm-up. If the cosine has more than one step, the result is
        exactly ``final_lr`` at the final step and later.
        """
        peak, final = self.options.lr, self.options.final_lr
        if step < self.warmup_steps:
            start = self.options.warmup_lr
            return start + (peak - start) * step / self.warmup_steps
        if self.options.schedule == "constant":
            return peak
        progress = (step - self.warmup_steps) / max(1, self.total_steps - 1 - self.warmup_steps)
        return final + (peak - final) * cosine_decay(min(1.0, progress))

    def get_lr(self) -> list[float | torch.Tensor]:
        rate = self.lr_at(self.last_epoch)
        return [rate * group["lr_scale"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.last_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.last_epoch = state_dict["step"]
        self._step_count = self.last_epoch + 1
        self._last_lr = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate


class ScheduledOptimizer(Optimizer):
    """Base class of the built-in optimizers: checks their options and builds the learning-rate schedule.

    Raises:
        OptionError: options of the schedule contradict each other.
    """

    api = 2
    capturable = True
    options: ScheduledOptions

    def __init__(self, options: ScheduledOptions, context: Context) -> None:
        super().__init__(options, context)
        if options.warmup_lr and not count_epochs(options.warmup_epochs, context.epochs):
            raise OptionError("warmup_lr", "has no effect without a warm-up: set warmup_epochs, or remove warmup_lr")
        if options.final_lr and options.schedule == "constant":
            raise OptionError("final_lr", 'has no effect with the constant schedule: use schedule = "cosine"')
        if options.final_lr > options.lr:
            raise OptionError("final_lr", f"must be at most lr ({options.lr:g}), but is {options.final_lr:g}")

    def schedule(self, optimizer: torch.optim.Optimizer) -> Schedule:
        return Schedule(optimizer, self.options, self.context)

    def named_groups(self, groups: tuple[ParameterGroup, ...]) -> list[dict[str, Any]]:
        """Return the parameter groups for a PyTorch optimizer, with name, weight decay and ``lr_scale``."""
        decay = self.options.weight_decay
        return [
            {
                "name": group.name,
                "params": list(group.parameters),
                "weight_decay": decay if group.decay else 0.0,
                "lr_scale": group.lr_scale,
            }
            for group in groups
        ]
