"""LARS: equality with lightly's implementation, clipping, state, and no device sync."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sslkit.contracts.context import Context
from sslkit.contracts.optimizer import ParameterGroup
from sslkit.optimizers.lars import Lars, LarsSgd
from sslkit.testing.fake_device import ForbidDeviceSync


def make_parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(5, 3), (4,), (2, 3, 3, 3), (6, 2), (7,), (3, 3), ()]
    parameters = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    parameters[3].data.zero_()
    return parameters


def make_gradients(step: int) -> list[Tensor | None]:
    """Return gradients of one step: parameter 2 has zeros in the first step, parameter 4 has None in odd steps."""
    generator = torch.Generator().manual_seed(100 + step)
    gradients: list[Tensor | None] = [torch.randn(p.shape, generator=generator) for p in make_parameters()]
    if step < 2:
        gradients[2] = torch.zeros(2, 3, 3, 3)
    if step == 3:
        gradients[0] = torch.zeros(5, 3)
    if step % 2:
        gradients[4] = None
    return gradients


def group_parameters(params: list[nn.Parameter], decay: float) -> list[dict[str, Any]]:
    return [
        {"name": "weights", "params": params[:4], "weight_decay": decay},
        {"name": "bias-and-norm", "params": params[4:], "weight_decay": 0.0},
    ]


def make_lars(params: list[nn.Parameter], decay: float = 1e-2, **options: Any) -> LarsSgd:
    weights, rest = group_parameters(params, decay)
    return LarsSgd([weights, {**rest, "adapt": False}], lr=0.5, trust_coefficient=0.02, **options)


def run(params: list[nn.Parameter], optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        for parameter, gradient in zip(params, make_gradients(step), strict=True):
            parameter.grad = gradient
        optimizer.step()


@pytest.mark.parametrize(
    "options",
    [{"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.0}, {"momentum": 0.5, "eps": 0.1}],
)
def test_equals_lightly(options: dict[str, Any]) -> None:
    lightly_lars = pytest.importorskip("lightly.utils.lars").LARS
    actual, expected = make_parameters(), make_parameters()
    run(expected, lightly_lars(group_parameters(expected, 1e-2), lr=0.5, trust_coefficient=0.02, **options), range(8))
    optimizer = make_lars(actual, **options)
    with ForbidDeviceSync():
        run(actual, optimizer, range(8))
    for index, (a, b) in enumerate(zip(actual, expected, strict=True)):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
        assert not torch.equal(a, make_parameters()[index])


def test_one_step_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    weight.grad = torch.tensor([0.0, 2.0])
    LarsSgd([{"params": [weight]}], lr=10.0, weight_decay=0.1, trust_coefficient=0.5, eps=0.5).step()
    ratio = 0.5 * 5 / (2 + 0.1 * 5 + 0.5)
    torch.testing.assert_close(weight.detach(), torch.tensor([3 - 10 * ratio * 0.3, 4 - 10 * ratio * 2.4]))


def test_with_clip_the_rate_bounds_the_ratio() -> None:
    flat, steep, still = (nn.Parameter(torch.tensor([3.0, 4.0])) for _ in range(3))
    flat.grad, steep.grad, still.grad = torch.tensor([0.0, 0.5]), torch.tensor([0.0, 20.0]), torch.zeros(2)
    optimizer = LarsSgd([{"params": [flat, steep, still]}], lr=0.1, momentum=0.0, trust_coefficient=0.2, clip=True)
    optimizer.step()
    torch.testing.assert_close(flat.detach(), torch.tensor([3.0, 4 - 0.1 * 0.5]))  # 0.2 * 5 / 0.5 = 2 > lr
    torch.testing.assert_close(steep.detach(), torch.tensor([3.0, 4 - 0.2 * 5 / 20 * 20]))
    torch.testing.assert_close(still.detach(), torch.tensor([3.0, 4.0]))
    optimizer.param_groups[0]["lr"] = 0.0  # as in the first step of a warm-up
    optimizer.step()
    torch.testing.assert_close(flat.detach(), torch.tensor([3.0, 4 - 0.1 * 0.5]))


def test_weights_are_adapted_without_decay() -> None:
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    weight.grad = torch.tensor([0.0, 1000.0])
    LarsSgd([{"params": [weight]}], lr=1.0, trust_coefficient=0.1, eps=0.0).step()
    torch.testing.assert_close(weight.detach(), torch.tensor([3.0, 3.5]))


def test_the_closure_runs_with_gradients() -> None:
    weight = nn.Parameter(torch.ones(3))

    def closure() -> float:
        loss = weight.square().sum()
        loss.backward()
        return loss.item()

    assert LarsSgd([{"params": [weight]}], lr=1.0).step(closure) == 3.0
    assert torch.all(weight < 1)


def test_state_holds_momentum_only_and_continues_bit_identically() -> None:
    uninterrupted = make_parameters()
    optimizer = make_lars(uninterrupted)
    run(uninterrupted, optimizer, range(9))
    assert {key for state in optimizer.state.values() for key in state} == {"momentum_buffer"}

    interrupted = make_parameters()
    first = make_lars(interrupted)
    run(interrupted, first, range(4))
    state = copy.deepcopy(first.state_dict())
    resumed = [nn.Parameter(p.detach().clone()) for p in interrupted]
    second = make_lars(resumed)
    second.load_state_dict(state)
    run(resumed, second, range(4, 9))
    assert all(torch.equal(a, b) for a, b in zip(resumed, uninterrupted, strict=True))


def test_without_momentum_there_is_no_state() -> None:
    params = make_parameters()
    optimizer = make_lars(params, momentum=0.0)
    run(params, optimizer, range(2))
    assert not optimizer.state


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(dtype: torch.dtype) -> None:
    params = [nn.Parameter(p.detach().to(dtype)) for p in make_parameters()]
    for parameter, gradient in zip(params, make_gradients(0), strict=True):
        parameter.grad = None if gradient is None else gradient.to(dtype)
    make_lars(params).step()
    assert all(p.dtype == dtype and p.isfinite().all() for p in params)


CONTEXT = Context(channels=3, image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3, batch_size=4, steps_per_epoch=7, epochs=10)


def test_the_component_uses_plain_sgd_for_biases() -> None:
    weight, bias = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))
    groups = ParameterGroup("weights", (weight,), True), ParameterGroup("bias-and-norm", (bias,), False)
    optimizer = Lars(Lars.Options(lr=1.0, weight_decay=0.0, trust_coefficient=0.02), CONTEXT).build(groups)
    weight.grad, bias.grad = torch.full((4,), 0.5), torch.full((4,), 0.5)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.full((4,), 1 - 0.02))
    torch.testing.assert_close(bias.detach(), torch.full((4,), 0.5))


@torch.no_grad()
def larc_step(sgd: torch.optim.Optimizer, decay: float, trust: float, clip: bool, eps: float = 1e-8) -> None:
    """Take a step of ``sgd`` (without decay) as apex's LARC does, which the authors of both reports' methods use."""
    for group in sgd.param_groups:
        for p in group["params"]:
            if p.grad is not None and p.norm() != 0 and p.grad.norm() != 0:
                rate = trust * p.norm() / (p.grad.norm() + decay * p.norm() + eps)
                p.grad = (p.grad + decay * p) * (min(rate / group["lr"], 1) if clip else rate)
    sgd.step()


@pytest.mark.parametrize("clip", [False, True])
def test_all_parameters_equal_the_authors_larc_in_float64(clip: bool) -> None:
    actual, expected = ([nn.Parameter(p.detach().double()) for p in make_parameters()] for _ in range(2))
    groups = (
        ParameterGroup("weights", tuple(actual[:4]), True),
        ParameterGroup("bias-and-norm", tuple(actual[4:]), False),
    )
    options = Lars.Options(lr=0.5, weight_decay=1e-2, clip=clip, exclude_bias_and_norm=False)
    optimizer, sgd = Lars(options, CONTEXT).build(groups), torch.optim.SGD(expected, lr=0.5, momentum=0.9)
    for step in range(8):
        for params in (actual, expected):
            for parameter, gradient in zip(params, make_gradients(step), strict=True):
                parameter.grad = None if gradient is None else gradient.double()
        optimizer.step()
        larc_step(sgd, 1e-2, 0.001, clip)
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
