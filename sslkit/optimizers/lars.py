"""LARS: SGD that scales the update of each weight tensor by the ratio of weight norm to gradient norm."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from sslkit.contracts.optimizer import ParameterGroup
from sslkit.optimizers.momentum_sgd import MomentumSgd
from sslkit.optimizers.torch_optimizers import Sgd


class LarsSgd(MomentumSgd):
    """Layer-wise adaptive rate scaling (You, Gitman & Ginsburg, arXiv 1708.03888, eq. 6 and algorithm 1).

    For a weight tensor ``w`` with gradient ``g``, the gradient in SGD with momentum is replaced by
    ``ratio * (g + weight_decay * w)``. The trust ratio is
    ``trust_coefficient * |w| / (|g| + weight_decay * |w| + eps)``. It is 1 if ``w`` is all zeros. If ``g`` is all
    zeros, the replacement is 0, and only momentum changes the weight. A group with ``adapt=False`` uses SGD with
    momentum, without the trust ratio or weight decay.

    With ``clip``, the learning rate is ``min(ratio, lr)``. NVIDIA's apex calls this LARC.

    A step does not sync the device. With momentum, the optimizer state of each parameter is ``momentum_buffer``.

    Args:
        groups: parameter groups; each group may override any of the following arguments.
        lr: learning rate; a group's rate may be a scalar tensor on the device of the parameters.
        momentum: momentum of SGD, in [0, 1).
        nesterov: whether to use Nesterov momentum.
        weight_decay: weight decay; ignored if ``adapt`` is False.
        trust_coefficient: multiplier of the trust ratio, η in the paper.
        eps: constant added to the denominator of the trust ratio.
        clip: whether ``lr`` is the upper bound of the trust ratio instead of its multiplier.
        adapt: whether to apply the trust ratio and weight decay.
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
        super().__init__(
            groups,
            lr=lr,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            trust_coefficient=trust_coefficient,
            eps=eps,
            clip=clip,
            adapt=adapt,
        )

    def direction(self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
        return _scale_gradients(group, parameters, gradients) if group["adapt"] else gradients


def _scale_gradients(group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
    """Return ``ratio * (g + weight_decay * w)`` for each gradient; see ``LarsSgd``."""
    decay = group["weight_decay"]
    weight_norm = torch.stack(torch._foreach_norm(parameters))
    gradient_norm = torch.stack(torch._foreach_norm(gradients))
    ratio = group["trust_coefficient"] * weight_norm / (gradient_norm + decay * weight_norm + group["eps"])
    if group["clip"]:
        ratio = (ratio / group["lr"]).clamp(max=1)  # because the update multiplies by the learning rate
    # torch.where, because a Python condition on a norm would sync the device.
    ratio = torch.where(weight_norm == 0, 1.0, ratio) * (gradient_norm != 0)
    updates = list(torch._foreach_add(gradients, parameters, alpha=decay))
    torch._foreach_mul_(updates, list(ratio.unbind()))
    return updates


class Lars(Sgd):
    """SGD with momentum and layer-wise adaptive rate scaling, for large batches."""

    class Options(Sgd.Options):
        lr: float = Field(default=0.6, gt=0)
        """Peak learning rate, not scaled with the batch size (0.6 suits a batch of 256)."""
        weight_decay: float = Field(default=1e-6, ge=0)
        """Weight decay of weights; see exclude_bias_and_norm for biases and normalisation layers."""
        trust_coefficient: float = Field(default=0.001, gt=0)
        """Multiplier of the trust ratio (weight norm divided by gradient norm); 0.02 is usual for CIFAR-10."""
        eps: float = Field(default=1e-8, gt=0)
        """Constant added to the denominator of the trust ratio."""
        clip: bool = False
        """Use the learning rate as the upper bound of the trust ratio (LARC) instead of its multiplier."""
        exclude_bias_and_norm: bool = True
        """Train biases and normalisation layers without trust ratio or weight decay, as is usual. If false, both apply
        to all parameters, as in the authors' code of SwAV and Self-Classifier."""

    options: Options

    def build(self, groups: tuple[ParameterGroup, ...]) -> LarsSgd:
        adapted = [group.decay or not self.options.exclude_bias_and_norm for group in groups]
        return LarsSgd(
            [
                {**settings, "adapt": adapt, "weight_decay": self.options.weight_decay if adapt else 0.0}
                for settings, adapt in zip(self.named_groups(groups), adapted, strict=True)
            ],
            lr=self.options.lr,
            momentum=self.options.momentum,
            nesterov=self.options.nesterov,
            trust_coefficient=self.options.trust_coefficient,
            eps=self.options.eps,
            clip=self.options.clip,
        )
