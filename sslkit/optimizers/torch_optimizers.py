"""The optimizers SGD and AdamW."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from sslkit.contracts.context import Context
from sslkit.contracts.optimizer import ParameterGroup
from sslkit.errors import OptionError
from sslkit.optimizers.momentum_sgd import MomentumSgd
from sslkit.optimizers.schedule import ScheduledOptimizer, ScheduledOptions

Momentum = Annotated[float, Field(ge=0, lt=1)]


class Sgd(ScheduledOptimizer):
    """Stochastic gradient descent with momentum.

    Raises:
        OptionError: Nesterov momentum is used without momentum, or options of the schedule contradict each other.
    """

    class Options(ScheduledOptions):
        lr: float = Field(default=0.05, gt=0)
        """Peak learning rate, not scaled with the batch size (0.05 suits a batch of 256)."""
        weight_decay: float = Field(default=1e-4, ge=0)
        """Weight decay of weights; biases and normalisation layers have none."""
        momentum: Momentum = 0.9
        """Fraction of the previous update that is added to the current update."""
        nesterov: bool = False
        """Use Nesterov momentum."""

    options: Options

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__(options, context)
        if options.nesterov and not options.momentum:
            raise OptionError("nesterov", "needs a momentum above 0")

    def build(self, groups: tuple[ParameterGroup, ...]) -> torch.optim.Optimizer:
        return MomentumSgd(
            self.named_groups(groups),
            lr=self.options.lr,
            momentum=self.options.momentum,
            nesterov=self.options.nesterov,
        )


class AdamW(ScheduledOptimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter, ICLR 2019, algorithm 2)."""

    class Options(ScheduledOptions):
        lr: float = Field(default=1e-3, gt=0)
        """Peak learning rate, not scaled with the batch size."""
        weight_decay: float = Field(default=0.01, ge=0)
        """Weight decay of weights, multiplied by the learning rate; biases and normalisation layers have none."""
        # Not strict, because TOML has lists instead of tuples.
        betas: Annotated[tuple[Momentum, Momentum], Field(strict=False)] = (0.9, 0.999)
        """Decay rates of the running means of the gradient and of the squared gradient."""
        eps: float = Field(default=1e-8, gt=0)
        """Constant added to the denominator of the update."""

    options: Options

    def build(self, groups: tuple[ParameterGroup, ...]) -> torch.optim.Optimizer:
        optimizer = torch.optim.AdamW(
            self.named_groups(groups),
            lr=self.options.lr,
            betas=self.options.betas,
            eps=self.options.eps,
            fused=_can_fuse(groups),
            capturable=_on_cuda(groups),
        )
        optimizer.register_load_state_dict_post_hook(_match_layout)
        # The first steps of a phase run without a graph, and PyTorch would warn about them.
        optimizer._warned_capturable_if_run_uncaptured = True
        return optimizer


def _can_fuse(groups: tuple[ParameterGroup, ...]) -> bool | None:
    """Return True if PyTorch has a fused update for all parameters; otherwise None, which lets PyTorch choose."""
    parameters = (parameter for group in groups for parameter in group.parameters)
    return all(p.device.type in {"cpu", "cuda"} and p.is_floating_point() for p in parameters) or None


def _on_cuda(groups: tuple[ParameterGroup, ...]) -> bool:
    return all(parameter.device.type == "cuda" for group in groups for parameter in group.parameters)


def _match_layout(optimizer: torch.optim.Optimizer) -> None:
    """Convert the loaded state of each parameter to the device and the memory format of the parameter.

    The fused kernels assume that state and parameter have the same strides. When a run resumes from a checkpoint with a
    different memory format, the kernels would otherwise silently update the wrong elements.
    """
    for group in optimizer.param_groups:  # the checkpoint may be from another device
        group["capturable"] = all(parameter.device.type == "cuda" for parameter in group["params"])
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
