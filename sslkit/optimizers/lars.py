"""LARS: SGD whose learning rate is scaled for each weight by the ratio of its norm to its gradient's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from pydantic import Field
from torch import Tensor

from sslkit.contracts.optimizer import ParameterGroup
from sslkit.optimizers.torch_optimizers import Sgd


class LarsSgd(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling (You, Gitman & Ginsburg, arXiv 1708.03888, eq. 6 and algorithm 1).

    A weight ``w`` with gradient ``g`` is updated by SGD with momentum on
    ``trust_coefficient * |w| / (|g| + weight_decay * |w| + eps) * (g + weight_decay * w)``.  Where ``w`` is all zero
    the gradient is taken as it is; where ``g`` is all zero there is neither gradient nor decay, so that momentum
    alone moves it.  A group with ``adapt=False`` gets plain SGD, without decay.

    With ``clip`` the ratio takes the learning rate's place, and the rate is its upper bound: the update is by
    ``min(trust_coefficient * |w| / (|g| + weight_decay * |w| + eps), lr)``.  NVIDIA's apex calls that LARC.

    The host never waits for the device.  State: ``momentum_buffer`` of each parameter, where there is momentum.

    Args:
        groups: parameter groups; each may set any of the following for itself.
        lr: learning rate.
        momentum: in 0..1, 1 excluded.
        nesterov: use Nesterov's form of momentum.
        weight_decay: decay of adapted weights.
        trust_coefficient: factor of the ratio, η in the paper.
        eps: added to the ratio's denominator.
        clip: whether the learning rate bounds the ratio instead of multiplying it.
        adapt: whether the group gets the ratio and the decay.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        eps: float = 1e-8,
        clip: bool = False,
        adapt: bool = True,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "eps": eps,
            "clip": clip,
            "adapt": adapt,
        }
        super().__init__(groups, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._update(group, parameters, [p.grad for p in parameters])
        return loss

    def _update(self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor]) -> None:
        updates = _adapted(group, parameters, gradients) if group["adapt"] else gradients
        momentum = group["momentum"]
        if momentum:
            buffers = [self._buffer(p) for p in parameters]
            torch._foreach_mul_(buffers, momentum)
            torch._foreach_add_(buffers, updates)
            updates = list(torch._foreach_add(updates, buffers, alpha=momentum)) if group["nesterov"] else buffers
        torch._foreach_add_(parameters, updates, alpha=-group["lr"])

    def _buffer(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def _adapted(group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
    """The decayed gradients, each times its trust ratio."""
    decay = group["weight_decay"]
    weight = torch.stack(torch._foreach_norm(parameters))
    slope = torch.stack(torch._foreach_norm(gradients))
    ratio = group["trust_coefficient"] * weight / (slope + decay * weight + group["eps"])
    if group["clip"]:
        ratio = (ratio / group["lr"]).clamp(max=1)  # the learning rate multiplies it later
    # Selected on the device, because a Python branch on a norm would make the host wait for it.
    ratio = torch.where(weight == 0, 1.0, ratio) * (slope != 0)
    updates = list(torch._foreach_add(gradients, parameters, alpha=decay))
    torch._foreach_mul_(updates, list(ratio.unbind()))
    return updates


class Lars(Sgd):
    """SGD with momentum and layer-wise adaptive rate scaling, for large batches."""

    class Options(Sgd.Options):
        lr: float = Field(default=0.6, gt=0)
        """Peak learning rate, used as it is: it is not scaled by the batch size (0.6 suits a batch of 256)."""
        weight_decay: float = Field(default=1e-6, ge=0)
        """Weight decay of the weights; biases and normalisation layers have none."""
        trust_coefficient: float = Field(default=0.001, gt=0)
        """Factor of the ratio of a weight's norm to its gradient's; 0.02 is usual for small images such as CIFAR's."""
        eps: float = Field(default=1e-8, gt=0)
        """Added to the denominator of the ratio."""
        clip: bool = False
        """The learning rate is an upper bound of the ratio (LARC) and does not multiply it."""

    options: Options

    def build(self, groups: tuple[ParameterGroup, ...]) -> LarsSgd:
        named = zip(self.named_groups(groups), groups, strict=True)
        return LarsSgd(
            [{**settings, "adapt": group.decay} for settings, group in named],
            lr=self.options.lr,
            momentum=self.options.momentum,
            nesterov=self.options.nesterov,
            trust_coefficient=self.options.trust_coefficient,
            eps=self.options.eps,
            clip=self.options.clip,
        )
