"""Means of gradients and loss over all processes of a training run."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor

from sslkit.contracts.context import World
from sslkit.contracts.method import Method
from sslkit.errors import TrainingError


class GradientAverage:
    """Replaces gradients by their means over all processes, with one collective operation per step.

    Sums have the same order in every step, so that a resumed run has bit-identical results. All processes must
    train the same parameters, and these can change only in a step that starts a new phase of the method.

    Args:
        method: the trained method.
        world: the processes of the training run.

    Attributes:
        trained: names of the parameters that have gradients in the current phase.
    """

    def __init__(self, method: Method, world: World) -> None:
        self.method = method
        self.world = world
        self.phase: Hashable = None
        self.trained: tuple[str, ...] = ()

    @torch.no_grad()
    def __call__(self, loss: Tensor, position: int) -> Tensor:
        """Average the gradients after the backward pass, and return the mean of the processes' losses.

        The mean loss or a mean gradient is not finite if that of any process is not finite.

        Args:
            loss: scalar, this process's loss.
            position: the step that losses and schedules use; see ``Position.step``.

        Raises:
            TrainingError: the trained parameters have changed within a phase, or differ between processes.
        """
        if self.world.size == 1:
            return loss
        gradients = {name: p.grad for name, p in self.method.named_parameters() if p.grad is not None}
        self._check(tuple(gradients), position)
        values = [*gradients.values(), loss]
        mean = self.world.sum(torch.cat([value.flatten() for value in values])).div_(self.world.size)
        *means, mean_loss = mean.split([value.numel() for value in values])
        torch._foreach_copy_(
            list(gradients.values()),
            [mean.view_as(gradient) for mean, gradient in zip(means, gradients.values(), strict=True)],
        )
        average: Tensor = mean_loss.view_as(loss)
        return average

    def _check(self, trained: tuple[str, ...], position: int) -> None:
        phase = self.method.phase(position)
        if self.trained and phase == self.phase:
            if trained != self.trained:
                names = ", ".join(sorted({*trained} ^ {*self.trained})[:3])
                raise TrainingError(
                    f"in step {position + 1}, {names} have a gradient but had none before, or the other way round: "
                    "return a new phase from phase(step) in this step, because processes exchange gradients by phase"
                )
            return
        has_gradient = torch.tensor([float(name in trained) for name, _ in self.method.named_parameters()])
        count = self.world.sum(has_gradient.to(next(self.method.parameters()).device))
        if not bool(((count == 0) | (count == self.world.size)).all()):
            raise TrainingError(
                f"in step {position + 1}, some parameters have a gradient only in some processes: losses must use the "
                "same parameters in all processes"
            )
        self.phase, self.trained = phase, trained
