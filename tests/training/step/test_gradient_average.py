"""Means of gradients over processes, which are simulated by threads."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from sslkit.contracts.context import World
from sslkit.errors import TrainingError
from sslkit.testing.thread_world import run_in_threads
from sslkit.training.step.gradient_average import GradientAverage


class TwoLayers(nn.Module):
    """Layers whose phase changes in step 2."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 2)
        self.second = nn.Conv2d(2, 4, 3).to(memory_format=torch.channels_last)

    def phase(self, step: int) -> bool:
        return step >= 2


class Process:
    """One process, whose loss and gradients are ``value``, times the index in its parameter for gradients."""

    def __init__(self, world: World) -> None:
        self.network = TwoLayers()
        self.average = GradientAverage(self.network, world)

    def step(self, step: int, value: float, *, trains_second: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean loss and the mean gradients."""
        for name, parameter in self.network.named_parameters():
            parameter.grad = None
            if trains_second or name.startswith("first"):
                parameter.grad = torch.empty_like(parameter).copy_(
                    value * torch.arange(parameter.numel()).view_as(parameter)
                )
        loss = self.average(torch.tensor(value), step)
        return loss, {name: p.grad for name, p in self.network.named_parameters() if p.grad is not None}


def test_gradients_and_loss_are_means_in_every_phase() -> None:
    def work(world: World) -> list[tuple[Tensor, dict[str, Tensor]]]:
        process = Process(world)
        return [process.step(step, 1.0 + world.rank, trains_second=step >= 2) for step in range(4)]

    for results in run_in_threads(2, work):
        assert [len(gradients) for _, gradients in results] == [2, 2, 4, 4]
        for loss, gradients in results:
            assert loss == 1.5
            for gradient in gradients.values():
                assert torch.equal(gradient, 1.5 * torch.arange(gradient.numel()).view_as(gradient))
        assert results[-1][1]["second.weight"].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_non_finite_loss_of_one_process_is_not_finite_in_all(value: float) -> None:
    def work(world: World) -> Tensor:
        return Process(world).step(0, value if world.rank else 1.0, trains_second=True)[0]

    assert not any(loss.isfinite() for loss in run_in_threads(2, work))


def test_an_undeclared_change_of_the_trained_parameters_is_an_error() -> None:
    def work(world: World) -> None:
        process = Process(world)
        process.step(0, 1.0, trains_second=True)
        with pytest.raises(
            TrainingError, match=r"in step 2, second.bias, second.weight have a gradient .* phase\(step\)"
        ):
            process.step(1, 1.0, trains_second=False)

    run_in_threads(2, work)


def test_parameters_that_only_one_process_trains_are_an_error() -> None:
    def work(world: World) -> None:
        with pytest.raises(TrainingError, match="in step 1, some parameters have a gradient only in some processes"):
            Process(world).step(0, 1.0, trains_second=world.rank == 0)

    run_in_threads(2, work)
