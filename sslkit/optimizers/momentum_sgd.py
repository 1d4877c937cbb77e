"""SGD with momentum whose learning rate may be a tensor, so that a CUDA graph can replay its step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class MomentumSgd(torch.optim.Optimizer):
    """Stochastic gradient descent with momentum, with the same updates as ``torch.optim.SGD``.

    The learning rate of a group may be a scalar tensor on the device of the parameters. ``torch.optim.SGD`` would copy
    such a tensor to the host, and its fused version fails if a parameter gets its first gradient late, as frozen
    prototypes do.

    A step does not sync the device. With momentum, the optimizer state of each parameter is ``momentum_buffer``.

    Args:
        groups: parameter groups; each group may override any of the following arguments.
        lr: learning rate.
        momentum: momentum, in [0, 1).
        nesterov: whether to use Nesterov momentum.
        weight_decay: weight decay.
        others: default values of a subclass's options.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        **others: Any,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
        super().__init__(groups, options | others)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
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

    def direction(self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
        """Return what is added to the momentum buffer of each parameter: the gradient plus weight decay.

        A subclass overrides this method to change the update, as ``LarsSgd`` does.
        """
        decay = group["weight_decay"]
        return list(torch._foreach_add(gradients, parameters, alpha=decay)) if decay else gradients

    def _update(self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor]) -> None:
        updates, momentum, rate = self.direction(group, parameters, gradients), group["momentum"], group["lr"]
        if momentum:
            buffers = [self._buffer(p) for p in parameters]
            torch._foreach_mul_(buffers, momentum)
            torch._foreach_add_(buffers, updates)
            updates = list(torch._foreach_add(updates, buffers, alpha=momentum)) if group["nesterov"] else buffers
        if isinstance(rate, Tensor):
            torch._foreach_sub_(parameters, torch._foreach_mul(updates, rate))
        else:
            torch._foreach_add_(parameters, updates, alpha=-rate)

    def _buffer(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        return buffer
