"""SGD and AdamW as torch has them."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from sslkit.contracts.context import Context
from sslkit.contracts.optimizer import ParameterGroup
from sslkit.errors import OptionError
from sslkit.optimizers.schedule import ScheduledOptimizer, ScheduledOptions

Momentum = Annotated[float, Field(ge=0, lt=1)]


class Sgd(ScheduledOptimizer):
    """Stochastic gradient descent with momentum.

    Raises:
        OptionError: Nesterov momentum without momentum, or a schedule that contradicts itself.
    """

    class Options(ScheduledOptions):
        lr: float = Field(default=0.05, gt=0)
        """Peak learning rate, used as it is: it is not scaled by the batch size (0.05 suits a batch of 256)."""
        weight_decay: float = Field(default=1e-4, ge=0)
        """Weight decay of the weights; biases and normalisation layers have none."""
        momentum: Momentum = 0.9
        """How much of the last update is carried into the next."""
        nesterov: bool = False
        """Use Nesterov's form of momentum, which looks one step ahead."""

    options: Options

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__(options, context)
        if options.nesterov and not options.momentum:
            raise OptionError("nesterov", "needs a momentum above 0")

    def build(self, groups: tuple[ParameterGroup, ...]) -> torch.optim.Optimizer:
        # Not fused: torch's fused SGD fails on a parameter that gets its first gradient later than others, such as
        # prototypes that are frozen for a while.
        return torch.optim.SGD(
            self.named_groups(groups),
            lr=self.options.lr,
            momentum=self.options.momentum,
            nesterov=self.options.nesterov,
            foreach=True,
        )


class AdamW(ScheduledOptimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter, ICLR 2019, algorithm 2)."""

    class Options(ScheduledOptions):
        lr: float = Field(default=1e-3, gt=0)
        """Peak learning rate, used as it is: it is not scaled by the batch size."""
        weight_decay: float = Field(default=0.01, ge=0)
        """Weight decay of the weights, times the learning rate; biases and normalisation layers have none."""
        # Strictness would refuse a list for a tuple, and a list is what TOML gives.
        betas: Annotated[tuple[Momentum, Momentum], Field(strict=False)] = (0.9, 0.999)
        """Decay of the running means of the gradient and of its square."""
        eps: float = Field(default=1e-8, gt=0)
        """Added to the denominator."""

    options: Options

    def build(self, groups: tuple[ParameterGroup, ...]) -> torch.optim.Optimizer:
        optimizer = torch.optim.AdamW(
            self.named_groups(groups),
            lr=self.options.lr,
            betas=self.options.betas,
            eps=self.options.eps,
            fused=_can_fuse(groups),
        )
        return _keeping_layout(optimizer)


def _can_fuse(groups: tuple[ParameterGroup, ...]) -> bool | None:
    """True where torch has a one-kernel update for all parameters, else None: torch's own choice for the device."""
    parameters = (parameter for group in groups for parameter in group.parameters)
    return all(p.device.type in {"cpu", "cuda"} and p.is_floating_point() for p in parameters) or None


def _keeping_layout(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimizer, with loaded state brought to its parameters' memory format.

    The fused kernels walk parameter and state in memory order without comparing strides: a checkpoint of a
    channels-last training, resumed without channels-last, would be updated wrongly and silently.
    """
    optimizer.register_load_state_dict_post_hook(_match_layout)
    return optimizer


def _match_layout(optimizer: torch.optim.Optimizer) -> None:
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
