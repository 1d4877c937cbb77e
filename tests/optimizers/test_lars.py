"""LARS: equal to an independent implementation, without ever making the host wait."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from sslkit.contracts.context import Context
from sslkit.contracts.optimizer import ParameterGroup
from sslkit.optimizers.lars import Lars, LarsSgd


class NoSync(TorchDispatchMode):
    """Refuses what would make the host wait for the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in {"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "_to_copy"}, name
        return func(*args, **(kwargs or {}))


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(5, 3), (4,), (2, 3, 3, 3), (6, 2), (7,), (3, 3), ()]
    made = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    made[3].data.zero_()
    return made


def gradients(step: int) -> list[Tensor | None]:
    """Of one step: place 2 has a zero gradient at first, place 4 none at all on odd steps."""
    generator = torch.Generator().manual_seed(100 + step)
    made: list[Tensor | None] = [torch.randn(p.shape, generator=generator) for p in parameters()]
    if step < 2:
        made[2] = torch.zeros(2, 3, 3, 3)
    if step == 3:
        made[0] = torch.zeros(5, 3)
    if step % 2:
        made[4] = None
    return made


def grouped(params: list[nn.Parameter], decay: float) -> list[dict[str, Any]]:
    return [
        {"name": "weights", "params": params[:4], "weight_decay": decay},
        {"name": "bias-and-norm", "params": params[4:], "weight_decay": 0.0},
    ]


def ours(params: list[nn.Parameter], decay: float = 1e-2, **options: Any) -> LarsSgd:
    weights, rest = grouped(params, decay)
    return LarsSgd([weights, {**rest, "adapt": False}], lr=0.5, trust_coefficient=0.02, **options)


def run(params: list[nn.Parameter], optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        for parameter, gradient in zip(params, gradients(step), strict=True):
            parameter.grad = gradient
        optimizer.step()


@pytest.mark.parametrize(
    "options",
    [{"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.0}, {"momentum": 0.5, "eps": 0.1}],
)
def test_equals_lightly(options: dict[str, Any]) -> None:
    theirs = pytest.importorskip("lightly.utils.lars").LARS
    found, expected = parameters(), parameters()
    run(expected, theirs(grouped(expected, 1e-2), lr=0.5, trust_coefficient=0.02, **options), range(8))
    optimizer = ours(found, **options)
    with NoSync():
        run(found, optimizer, range(8))
    for place, (a, b) in enumerate(zip(found, expected, strict=True)):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
        assert not torch.equal(a, parameters()[place])


def test_one_step_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    weight.grad = torch.tensor([0.0, 2.0])
    LarsSgd([{"params": [weight]}], lr=10.0, weight_decay=0.1, trust_coefficient=0.5, eps=0.5).step()
    ratio = 0.5 * 5 / (2 + 0.1 * 5 + 0.5)
    torch.testing.assert_close(weight.detach(), torch.tensor([3 - 10 * ratio * 0.3, 4 - 10 * ratio * 2.4]))


def test_where_clipped_the_rate_bounds_the_ratio() -> None:
    flat, steep, still = (nn.Parameter(torch.tensor([3.0, 4.0])) for _ in range(3))
    flat.grad, steep.grad, still.grad = torch.tensor([0.0, 0.5]), torch.tensor([0.0, 20.0]), torch.zeros(2)
    optimizer = LarsSgd([{"params": [flat, steep, still]}], lr=0.1, momentum=0.0, trust_coefficient=0.2, clip=True)
    optimizer.step()
    torch.testing.assert_close(flat.detach(), torch.tensor([3.0, 4 - 0.1 * 0.5]))  # 0.2 * 5 / 0.5 = 2, above the rate
    torch.testing.assert_close(steep.detach(), torch.tensor([3.0, 4 - 0.2 * 5 / 20 * 20]))
    torch.testing.assert_close(still.detach(), torch.tensor([3.0, 4.0]))
    optimizer.param_groups[0]["lr"] = 0.0  # a warm-up's first
    optimizer.step()
    torch.testing.assert_close(flat.detach(), torch.tensor([3.0, 4 - 0.1 * 0.5]))


def test_weights_are_adapted_without_decay_too() -> None:
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    weight.grad = torch.tensor([0.0, 1000.0])
    LarsSgd([{"params": [weight]}], lr=1.0, trust_coefficient=0.1, eps=0.0).step()
    torch.testing.assert_close(weight.detach(), torch.tensor([3.0, 3.5]))


def test_the_closure_is_run_with_gradients() -> None:
    weight = nn.Parameter(torch.ones(3))

    def closure() -> float:
        loss = weight.square().sum()
        loss.backward()
        return loss.item()

    assert LarsSgd([{"params": [weight]}], lr=1.0).step(closure) == 3.0
    assert torch.all(weight < 1)


def test_state_holds_momentum_only_and_continues_bit_identically() -> None:
    straight = parameters()
    optimizer = ours(straight)
    run(straight, optimizer, range(9))
    assert {key for state in optimizer.state.values() for key in state} == {"momentum_buffer"}

    stopped = parameters()
    first = ours(stopped)
    run(stopped, first, range(4))
    state = copy.deepcopy(first.state_dict())
    again = [nn.Parameter(p.detach().clone()) for p in stopped]
    second = ours(again)
    second.load_state_dict(state)
    run(again, second, range(4, 9))
    assert all(torch.equal(a, b) for a, b in zip(again, straight, strict=True))


def test_without_momentum_there_is_no_state() -> None:
    params = parameters()
    optimizer = ours(params, momentum=0.0)
    run(params, optimizer, range(2))
    assert not optimizer.state


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(dtype: torch.dtype) -> None:
    params = [nn.Parameter(p.detach().to(dtype)) for p in parameters()]
    for parameter, gradient in zip(params, gradients(0), strict=True):
        parameter.grad = None if gradient is None else gradient.to(dtype)
    ours(params).step()
    assert all(p.dtype == dtype and p.isfinite().all() for p in params)


def test_the_component_leaves_biases_to_plain_sgd() -> None:
    weight, bias = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))
    context = Context(
        channels=3, image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3, batch_size=4, steps_per_epoch=7, epochs=10
    )
    groups = ParameterGroup("weights", (weight,), True), ParameterGroup("bias-and-norm", (bias,), False)
    optimizer = Lars(Lars.Options(lr=1.0, weight_decay=0.0, trust_coefficient=0.02), context).build(groups)
    weight.grad, bias.grad = torch.full((4,), 0.5), torch.full((4,), 0.5)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.full((4,), 1 - 0.02))
    torch.testing.assert_close(bias.detach(), torch.full((4,), 0.5))
