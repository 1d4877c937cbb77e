"""Conformance tests for optimizers."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, ClassVar

import torch
from torch import nn

from sslkit.contracts.optimizer import Optimizer, ParameterGroup
from sslkit.device.step_trace import StepTrace
from sslkit.testing.base import ComponentTests, no_global_randomness, require

Training = tuple[nn.Linear, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]


class OptimizerTests(ComponentTests):
    """Conformance tests for an optimizer. Set ``component`` and, if needed, ``options``."""

    component: ClassVar[type[Optimizer]]
    draws_weights = False

    def build(self, lr_scale: float = 1.0) -> Training:
        """Return a small linear layer, its PyTorch optimizer and the learning-rate schedule.

        Args:
            lr_scale: multiplier of the learning rate for the layer's weight.
        """
        component: Optimizer = self.make(self.make_context())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layer = nn.Linear(4, 3)
        groups = (
            ParameterGroup("weights", (_parameter(layer, "weight"),), decay=True, lr_scale=lr_scale),
            ParameterGroup("bias-and-norm", (_parameter(layer, "bias"),), decay=False),
        )
        optimizer = component.build(groups)
        return layer, optimizer, component.schedule(optimizer)

    def train(self, training: Training, start: int, stop: int) -> float:
        """Train the layer from step ``start`` to step ``stop`` on fixed data and return the final loss."""
        layer, optimizer, schedule = training
        x = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
        for _ in range(start, stop):
            loss = (layer(x) - x[:, :3] - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            return float((layer(x) - x[:, :3] - 1).square().mean())

    def test_every_parameter_is_optimized_once(self) -> None:
        layer, optimizer, _ = self.build()
        actual = [id(p) for group in optimizer.param_groups for p in group["params"]]
        expected = sorted([id(layer.weight), id(layer.bias)])
        require(sorted(actual) == expected, "the torch optimizer must have every parameter of every group once")

    def test_training_decreases_the_loss(self) -> None:
        training = self.build()
        before = self.train(training, 0, 0)
        after = self.train(training, 0, self.make_context().total_steps)
        require(after < before, f"the loss is {before:.4f} before the first step and {after:.4f} after the last")

    def test_learning_rate_is_never_negative_nor_always_zero(self) -> None:
        training = self.build()
        rates = []
        for step in range(self.make_context().total_steps):
            rates.append(max(float(group["lr"]) for group in training[1].param_groups))
            self.train(training, step, step + 1)
        require(min(rates) >= 0, f"the learning rate falls to {min(rates)}")
        require(max(rates) > 0, "the learning rate is 0 in every step")

    def test_learning_rates_are_scaled(self) -> None:
        """Check that ``lr_scale`` of a parameter group multiplies the group's learning rate in every step."""
        one, scaled = self.build(), self.build(lr_scale=0.25)
        for step in range(self.make_context().total_steps):
            rates, expected = _rates(scaled), _rates(one)
            for name, scale in (("weight", 0.25), ("bias", 1.0)):
                close = abs(rates[name] - scale * expected[name]) <= 1e-6 * abs(expected[name])
                message = f"with lr_scale = {scale}, the learning rate of step {step} is {rates[name]:g}"
                require(close, f"{message}, not {scale} times {expected[name]:g}")
            self.train(one, step, step + 1)
            self.train(scaled, step, step + 1)

    def test_groups_without_decay_have_no_weight_decay(self) -> None:
        layer, optimizer, _ = self.build()
        nn.init.ones_(layer.bias)
        for group in optimizer.param_groups:
            group["lr"] = 0.1
        for parameter in layer.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        unchanged = torch.equal(layer.bias.detach(), torch.ones(3))
        require(unchanged, "a group with decay=False must have no weight decay")

    def test_step_accepts_a_closure(self) -> None:
        """Check that ``step`` can be called with a closure that computes loss and gradients, as Lightning does."""
        (layer, optimizer, _), (other_layer, other_optimizer, _) = self.build(), self.build()
        before = layer.weight.detach().clone()

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss: torch.Tensor = layer(torch.ones(1, 4)).square().sum()
            loss.backward()
            return loss

        step: Callable[..., Any] = optimizer.step
        returned = step(closure=closure)
        require(returned is not None, "step(closure) must return the value of the closure")
        require(not torch.equal(layer.weight, before), "step(closure) must call the closure and update the weights")
        other_layer(torch.ones(1, 4)).square().sum().backward()
        other_optimizer.step()
        same = torch.allclose(layer.weight, other_layer.weight, atol=1e-6)
        require(same, "step(closure) must give the update of step() for the same gradients")

    def test_parameters_without_a_gradient_are_not_changed(self) -> None:
        """Check that ``step`` skips parameters without a gradient, such as those of a head before its losses start."""
        layer, optimizer, _ = self.build()
        before = layer.bias.detach().clone()
        layer.weight.grad = torch.ones_like(layer.weight)
        try:
            optimizer.step()
        except Exception as error:
            raise AssertionError(f"step must skip parameters without a gradient: {error}") from error
        require(torch.equal(layer.bias, before), "a parameter without a gradient must not change")

    def test_state_dict_restores_the_full_state(self) -> None:
        one, other = self.build(), self.build()
        self.train(one, 0, 5)
        other[0].load_state_dict(one[0].state_dict())
        # deepcopy, because load_state_dict does not copy tensors and both optimizers would share their state.
        other[1].load_state_dict(deepcopy(one[1].state_dict()))
        other[2].load_state_dict(one[2].state_dict())
        losses = [self.train(training, 5, 10) for training in (one, other)]
        require(losses[0] == losses[1], "after load_state_dict the optimizer trains differently")

    def test_a_capturable_optimizer_accepts_a_tensor_as_learning_rate(self) -> None:
        """Check that ``step`` does not read a tensor ``lr`` on the host, because a CUDA graph cannot capture that."""
        if not self.component.capturable:
            return
        (layer, optimizer, _), (other_layer, other_optimizer, _) = self.build(), self.build()
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]) or 0.1)
        for group, own in zip(other_optimizer.param_groups, optimizer.param_groups, strict=True):
            group["lr"] = float(own["lr"])
        for _ in range(3):
            for module in (layer, other_layer):
                for parameter in module.parameters():
                    parameter.grad = torch.ones_like(parameter)
            with StepTrace() as trace:
                optimizer.step()
            require(not trace.host_access, f"a capturable optimizer must not read lr: {trace.host_access}")
            other_optimizer.step()
        same = torch.allclose(layer.weight, other_layer.weight, atol=1e-6)
        require(same, "a tensor as learning rate must give the same update as a number")

    def test_global_random_state_is_not_used(self) -> None:
        training = self.build()
        with no_global_randomness("the optimizer"):
            self.train(training, 0, 3)


def _rates(training: Training) -> dict[str, float]:
    """Return the current learning rate of each parameter."""
    layer, optimizer, _ = training
    names = {id(parameter): name for name, parameter in layer.named_parameters()}
    rates = [(names.get(id(p), ""), float(group["lr"])) for group in optimizer.param_groups for p in group["params"]]
    return dict.fromkeys(names.values(), 0.0) | dict(rates)


def _parameter(layer: nn.Module, name: str) -> nn.Parameter:
    return dict(layer.named_parameters())[name]
