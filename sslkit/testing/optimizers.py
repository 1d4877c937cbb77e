"""What is promised of optimizers."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, ClassVar

import torch
from torch import nn

from sslkit.contracts.optimizer import Optimizer, ParameterGroup
from sslkit.testing.base import ComponentTests, no_global_randomness, require

Built = tuple[nn.Linear, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]


class OptimizerTests(ComponentTests):
    """Subclass with ``component`` and, where needed, ``options``."""

    component: ClassVar[type[Optimizer]]

    def build(self) -> Built:
        """A small layer, its optimizer and its schedule."""
        component: Optimizer = self.make(self.make_context())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layer = nn.Linear(4, 3)
        groups = (
            ParameterGroup("weights", (_parameter(layer, "weight"),), decay=True),
            ParameterGroup("bias-and-norm", (_parameter(layer, "bias"),), decay=False),
        )
        optimizer = component.build(groups)
        return layer, optimizer, component.schedule(optimizer)

    def train(self, built: Built, start: int, stop: int) -> float:
        """The loss after some steps towards a fixed map."""
        layer, optimizer, schedule = built
        x = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
        for _ in range(start, stop):
            loss = (layer(x) - x[:, :3] - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            return float((layer(x) - x[:, :3] - 1).square().mean())

    def test_it_trains_every_parameter_once(self) -> None:
        layer, optimizer, _ = self.build()
        given = [id(p) for group in optimizer.param_groups for p in group["params"]]
        wanted = sorted([id(layer.weight), id(layer.bias)])
        require(sorted(given) == wanted, "every parameter of every group must be given to the optimizer once")

    def test_it_goes_downhill(self) -> None:
        built = self.build()
        before = self.train(built, 0, 0)
        after = self.train(built, 0, self.make_context().total_steps)
        require(after < before, f"after all steps the loss is {after:.4f}, before it was {before:.4f}")

    def test_the_learning_rate_is_never_negative_and_ends_no_higher_than_its_peak(self) -> None:
        built = self.build()
        rates = []
        for step in range(self.make_context().total_steps):
            rates.append(max(float(group["lr"]) for group in built[1].param_groups))
            self.train(built, step, step + 1)
        require(min(rates) >= 0, f"the learning rate becomes {min(rates)}")
        require(max(rates) > 0, "the learning rate is always 0")

    def test_biases_and_norms_do_not_decay(self) -> None:
        layer, optimizer, _ = self.build()
        nn.init.ones_(layer.bias)
        for group in optimizer.param_groups:
            group["lr"] = 0.1
        for parameter in layer.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        kept = torch.equal(layer.bias.detach(), torch.ones(3))
        require(kept, "a group with decay=False must have no weight decay")

    def test_a_step_takes_a_closure(self) -> None:
        """Lightning computes loss and gradients in one that it hands to ``step``."""
        (layer, optimizer, _), alone = self.build(), self.build()
        before = layer.weight.detach().clone()

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss: torch.Tensor = layer(torch.ones(1, 4)).square().sum()
            loss.backward()
            return loss

        given: Callable[..., Any] = optimizer.step
        returned = given(closure=closure)
        require(returned is not None, "step(closure) must return what the closure returns")
        require(not torch.equal(layer.weight, before), "step(closure) must call the closure, and take the step")
        alone[0](torch.ones(1, 4)).square().sum().backward()
        alone[1].step()
        same = torch.allclose(layer.weight, alone[0].weight, atol=1e-6)
        require(same, "step(closure) must take the step that step() takes with the same gradients")

    def test_parameters_without_a_gradient_stay_as_they_are(self) -> None:
        """A head that joins later, or a layer that a batch does not reach, has none."""
        layer, optimizer, _ = self.build()
        before = layer.bias.detach().clone()
        layer.weight.grad = torch.ones_like(layer.weight)
        try:
            optimizer.step()
        except Exception as error:
            raise AssertionError(f"a parameter without a gradient must be left alone: {error}") from error
        require(torch.equal(layer.bias, before), "a parameter without a gradient must stay as it is")

    def test_its_state_is_in_its_state_dict(self) -> None:
        one, other = self.build(), self.build()
        self.train(one, 0, 5)
        other[0].load_state_dict(one[0].state_dict())
        # torch keeps the tensors it is given; a checkpoint's would not be shared.
        other[1].load_state_dict(deepcopy(one[1].state_dict()))
        other[2].load_state_dict(one[2].state_dict())
        after = [self.train(built, 5, 10) for built in (one, other)]
        require(after[0] == after[1], "loaded from its state_dict the optimizer goes on differently")

    def test_it_uses_no_global_randomness(self) -> None:
        built = self.build()
        with no_global_randomness("an optimizer"):
            self.train(built, 0, 3)


def _parameter(layer: nn.Module, name: str) -> nn.Parameter:
    return dict(layer.named_parameters())[name]
