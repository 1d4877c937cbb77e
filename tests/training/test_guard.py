"""Non-finite steps are undone with every optimizer, on GPUs without a device sync."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sslkit
from sslkit.contracts.loss import LossOutput, ViewOutputs
from sslkit.errors import TrainingError
from sslkit.optimizers.lars import LarsSgd
from sslkit.recipe.load import load_recipe
from sslkit.runs.find import all_runs
from sslkit.testing.fake_device import fake_device
from sslkit.training.checkpoint.checkpoint_files import load_checkpoint
from sslkit.training.guard import NonFiniteGuard, all_finite, as_integers, restore_unless
from sslkit.training.learner import Learner
from sslkit.training.train import train
from sslkit_selfcls.loss import SelfClassifierLoss


class Network(nn.Module):
    """Network with BatchNorm, a queue, a teacher, frozen weights, and a buffer that each forward pass replaces."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.student = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False))
        self.teacher = nn.Linear(4, 4).requires_grad_(False)
        self.queue = sslkit.Queue(8, (2,), sslkit.World())
        self.register_buffer("centre", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.student(x)
        self.queue.push(y, torch.arange(len(y), device=y.device))
        self.centre = 0.9 * self.centre + 0.1 * y.detach().mean(0)
        return y

    @torch.no_grad()
    def after_step(self) -> None:
        self.teacher.weight.lerp_(self.student[0].weight, 0.5)


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adamw fused": lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),
    "adamw foreach": lambda p: torch.optim.AdamW(p, lr=0.1, foreach=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1, foreach=True),
    "lars": lambda p: LarsSgd([{"params": list(p)}], lr=0.1, momentum=0.9),
}


def take_step(
    network: Network, guard: NonFiniteGuard, optimizer: torch.optim.Optimizer, number: int, failure: str = ""
) -> None:
    guard.before_step()
    x = torch.randn(4, 4, generator=torch.Generator().manual_seed(number))
    if failure == "input":
        x[0, 0] = math.inf
    y = network(x)
    loss = y.square().mean()
    if failure == "gradient":  # the loss is finite, but its gradient is not
        loss = loss + (y - y.detach()).sum().sqrt()
    optimizer.zero_grad()
    loss.backward()
    guard.check(loss, number)
    optimizer.step()
    if not guard.skips_step:
        network.after_step()
    guard.after_step()


def state(network: Network) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items() if "extra_state" not in name}


@pytest.mark.parametrize("may_sync", [True, False], ids=["host", "device"])
@pytest.mark.parametrize("failure", ["input", "gradient"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_non_finite_step_is_undone(name: str, failure: str, may_sync: bool) -> None:
    network, unguarded = Network(), Network()
    guard, idle_guard = NonFiniteGuard(network), NonFiniteGuard(unguarded)
    guard.may_sync = may_sync
    optimizer, other = OPTIMIZERS[name](network.student.parameters()), OPTIMIZERS[name](unguarded.student.parameters())
    for number in (1, 2, 3):
        take_step(network, guard, optimizer, number)
        take_step(unguarded, idle_guard, other, number)
    before = state(network)
    assert all(torch.equal(before[key], value) for key, value in state(unguarded).items())
    assert not torch.equal(before["student.0.weight"], Network().student[0].weight)
    take_step(network, guard, optimizer, 4, failure)
    take_step(network, guard, optimizer, 5)
    after = state(network)
    assert [key for key in before if not torch.equal(before[key], after[key])] == []
    assert guard.failed_step == 4


def test_restoring_is_exact() -> None:
    values = torch.tensor([math.nan, math.inf, -0.0, 1e-45, 3.0])
    others = [
        torch.tensor([True, False]),
        torch.arange(3),
        torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last),
    ]
    tensors = [values, values.double(), values.bfloat16(), *others]
    for flag in (True, False):
        live, backup = [tensor.clone() for tensor in tensors], [torch.zeros_like(tensor) for tensor in tensors]
        expected = [tensor.clone() for tensor in (live if flag else backup)]
        restore_unless(torch.tensor(flag), [as_integers(each) for each in live], [as_integers(each) for each in backup])
        for result, wanted in zip(live, expected, strict=True):
            assert result.dtype == wanted.dtype
            assert torch.equal(result.nan_to_num(7), wanted.nan_to_num(7))
            assert torch.equal(result.double().signbit(), wanted.double().signbit())


def test_the_guard_never_syncs_with_an_accelerator() -> None:
    with fake_device(Network()) as (device, (network,)):
        guard = NonFiniteGuard(network)
        guard.before_step()
        loss = network(device.tensor(torch.zeros(4, 4))).square().mean()
        for parameter in network.student.parameters():
            parameter.grad = torch.empty_like(parameter)
        guard.check(loss, 1)
        assert not guard.skips_step
        guard.after_step()
        assert guard.failed_step.device.type == "cuda"


@pytest.mark.parametrize("may_sync", [True, False], ids=["host", "device"])
def test_a_diverged_run_stops_at_the_next_log_row_with_the_cause(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, may_sync: bool
) -> None:
    forward, before_step, init, learners = SelfClassifierLoss.forward, NonFiniteGuard.before_step, Learner.__init__, []

    def forward_with_nan(self: SelfClassifierLoss, views: ViewOutputs) -> LossOutput:
        output = forward(self, views)
        factor = math.nan if views.step == 3 else 1.0
        return LossOutput(output.total * factor, {**output.terms, "part": output.total.detach() * factor})

    def before_step_on_device(self: NonFiniteGuard) -> None:
        self.may_sync = may_sync
        before_step(self)

    def init_and_keep(self: Learner, *args: Any) -> None:
        learners.append(self)
        init(self, *args)

    monkeypatch.setattr(SelfClassifierLoss, "forward", forward_with_nan)
    monkeypatch.setattr(NonFiniteGuard, "before_step", before_step_on_device)
    monkeypatch.setattr(Learner, "__init__", init_and_keep)
    settings = ["backbone.width=4", "train.batch_size=100", "train.checkpoint_every=3 steps"]
    with pytest.raises(TrainingError) as error:
        train(load_recipe(tiny, settings), tmp_path / "runs")
    (run,) = all_runs(tmp_path / "runs")
    (learner,) = learners
    images = ", ".join(map(str, learner.assembly.loader.order(0)[300:305].tolist()))
    message = str(error.value)
    assert message.startswith(f"training diverged in step 4 (batch 4 of epoch 1, images {images}, ...): ")
    assert "loss is nan, selfcls/part is nan; " in message
    assert "checkpoint, of step 3, is from before" in message
    assert f"change {run.recipe} and continue with `sslkit resume {run.path} --allow recipe`" in message
    assert (run.status.state, run.status.step) == ("failed", 6)
    saved = load_checkpoint(run.last_checkpoint)["state_dict"]
    assert [name for name, value in learner.state_dict().items() if not torch.equal(value, saved[name])] == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("may_sync", [True, False])
def test_every_non_finite_value_is_detected_and_large_ones_are_finite(
    value: float, dtype: torch.dtype, may_sync: bool
) -> None:
    largest = torch.finfo(torch.bfloat16).max
    tensors = [torch.full((7, 5), sign * largest, dtype=dtype) for sign in (1, -1)]
    tensors += [torch.tensor(1.0), torch.empty(0)]
    assert all_finite(tensors, may_sync=may_sync)
    for index in range(2):
        changed = [tensor.clone() for tensor in tensors]
        changed[index][3, 2] = value
        assert not all_finite(changed, may_sync=may_sync)
