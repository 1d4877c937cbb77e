"""What is not finite never reaches a weight, whichever optimizer, and on accelerators without waiting."""

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
from sslkit.recipe.check import load_recipe
from sslkit.runs.find import all_runs
from sslkit.testing.accelerator import accelerator
from sslkit.training.checkpoint.files import load_checkpoint
from sslkit.training.guard import Guard, finite, select
from sslkit.training.guard import bits as as_bits
from sslkit.training.learner import Learner
from sslkit.training.train import train
from sslkit_selfcls.loss import SelfClassifierLoss


class Net(nn.Module):
    """A layer, BatchNorm, a queue, a teacher, a frozen weight, and a buffer that is replaced instead of changed."""

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


def step(net: Net, guard: Guard, optimizer: torch.optim.Optimizer, number: int, poison: str = "") -> None:
    guard.begin()
    x = torch.randn(4, 4, generator=torch.Generator().manual_seed(number))
    if poison == "input":
        x[0, 0] = math.inf
    y = net(x)
    loss = y.square().mean()
    if poison == "gradient":  # the loss is finite, its slope is not
        loss = loss + (y - y.detach()).sum().sqrt()
    optimizer.zero_grad()
    loss.backward()
    guard.judge(loss, number)
    optimizer.step()
    if not guard.skips:
        net.after_step()
    guard.end()


def bits(net: Net) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items() if "extra_state" not in name}


@pytest.mark.parametrize("host_looks", [True, False], ids=["host", "device"])
@pytest.mark.parametrize("poison", ["input", "gradient"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_nothing_of_a_step_that_is_not_finite_stays(name: str, poison: str, host_looks: bool) -> None:
    net, free = Net(), Net()
    guard, never = Guard(net, sslkit.World()), Guard(free, sslkit.World())
    guard.host_looks = host_looks
    optimizer, other = OPTIMIZERS[name](net.student.parameters()), OPTIMIZERS[name](free.student.parameters())
    for number in (1, 2, 3):
        step(net, guard, optimizer, number)
        step(free, never, other, number)
    before = bits(net)
    assert all(torch.equal(before[key], value) for key, value in bits(free).items())
    assert not torch.equal(before["student.0.weight"], Net().student[0].weight)
    step(net, guard, optimizer, 4, poison)
    step(net, guard, optimizer, 5)
    after = bits(net)
    assert [key for key in before if not torch.equal(before[key], after[key])] == []
    assert guard.failed == 4


def test_taking_one_or_the_other_is_exact() -> None:
    odd = torch.tensor([math.nan, math.inf, -0.0, 1e-45, 3.0])
    tensors = [odd, odd.double(), odd.bfloat16(), torch.tensor([True, False]), torch.arange(3), torch.ones(2, 3, 4, 4)]
    tensors[-1] = tensors[-1].to(memory_format=torch.channels_last)
    for flag in (True, False):
        one, other = [tensor.clone() for tensor in tensors], [torch.zeros_like(tensor) for tensor in tensors]
        wanted = [tensor.clone() for tensor in (one if flag else other)]
        select(torch.tensor(flag), [as_bits(tensor) for tensor in one], [as_bits(tensor) for tensor in other])
        for found, expected in zip(one, wanted, strict=True):
            assert found.dtype == expected.dtype
            assert torch.equal(found.nan_to_num(7), expected.nan_to_num(7))
            assert torch.equal(found.double().signbit(), expected.double().signbit())


def test_no_step_waits_for_an_accelerator() -> None:
    with accelerator(Net()) as (device, (net,)):
        guard = Guard(net, sslkit.World())
        guard.begin()
        loss = net(device.tensor(torch.zeros(4, 4))).square().mean()
        for parameter in net.student.parameters():
            parameter.grad = torch.empty_like(parameter)
        guard.judge(loss, 1)
        assert not guard.skips
        guard.end()
        assert guard.failed.device.type == "cuda"


@pytest.mark.parametrize("host_looks", [True, False], ids=["host", "device"])
def test_a_run_stops_at_the_next_log_interval_and_says_what_it_was(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host_looks: bool
) -> None:
    honest, begin, learners = SelfClassifierLoss.forward, Guard.begin, []

    def poisoned(self: SelfClassifierLoss, views: ViewOutputs) -> LossOutput:
        found = honest(self, views)
        factor = math.nan if views.step == 3 else 1.0
        return LossOutput(found.total * factor, {**found.terms, "part": found.total.detach() * factor})

    def forced(self: Guard) -> None:
        self.host_looks = host_looks
        begin(self)

    def remember(self: Learner, *args: Any) -> None:
        learners.append(self)
        first(self, *args)

    first = Learner.__init__
    monkeypatch.setattr(SelfClassifierLoss, "forward", poisoned)
    monkeypatch.setattr(Guard, "begin", forced)
    monkeypatch.setattr(Learner, "__init__", remember)
    settings = ["backbone.width=4", "train.batch_size=100", "train.checkpoint_every=1 epochs"]
    with pytest.raises(TrainingError) as error:
        train(load_recipe(tiny, [*settings, "train.checkpoint_every=3 steps"]), tmp_path / "runs")
    (run,) = all_runs(tmp_path / "runs")
    (learner,) = learners
    images = ", ".join(map(str, learner.assembly.loader.order(0)[300:305].tolist()))
    assert str(error.value) == (
        f"training diverged in step 4 (batch 4 of epoch 1, images {images}, ...): loss is nan, selfcls/part is nan; "
        "the weights were kept from it, the newest checkpoint, of step 3, is from before. A lower learning rate, a "
        "longer warm-up or a higher temperature is the usual remedy: train the changed recipe anew, or change "
        f"{run.recipe} and go on with `sslkit resume {run.path} --allow recipe`."
    )
    assert (run.status.state, run.status.step) == ("failed", 6)
    good = load_checkpoint(run.last_checkpoint)["state_dict"]
    assert [name for name, value in learner.state_dict().items() if not torch.equal(value, good[name])] == []


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("host_looks", [True, False])
def test_any_number_that_is_not_finite_is_found_and_no_large_one_taken_for_it(
    wrong: float, dtype: torch.dtype, host_looks: bool
) -> None:
    largest = torch.finfo(torch.bfloat16).max
    tensors = [torch.full((7, 5), sign * largest, dtype=dtype) for sign in (1, -1)]
    tensors += [torch.tensor(1.0), torch.empty(0)]
    assert finite(tensors, host_looks=host_looks)
    for place in range(2):
        spoilt = [tensor.clone() for tensor in tensors]
        spoilt[place][3, 2] = wrong
        assert not finite(spoilt, host_looks=host_looks)
