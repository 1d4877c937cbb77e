"""SGD, AdamW and the schedule: decay where it is meant, exact rates, exact resume."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from sslkit.contracts.context import Context
from sslkit.contracts.optimizer import ParameterGroup
from sslkit.errors import OptionError
from sslkit.optimizers.groups import parameter_groups
from sslkit.optimizers.lars import Lars
from sslkit.optimizers.schedule import ScheduledOptimizer
from sslkit.optimizers.torch_optimizers import AdamW, Sgd

BUILT_IN = [Sgd, AdamW, Lars]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads of so small a network only wait for each other, for seconds on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def context(epochs: int = 10, steps: int = 7) -> Context:
    return Context(
        channels=3, image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3, batch_size=4, steps_per_epoch=steps, epochs=epochs
    )


def component(kind: Any, epochs: int = 10, steps: int = 7, **options: Any) -> ScheduledOptimizer:
    made: ScheduledOptimizer = kind(kind.Options(**options), context(epochs, steps))
    return made


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 36, 4))


def groups_of(model: nn.Module) -> tuple[ParameterGroup, ...]:
    weights = tuple(p for p in model.parameters() if p.ndim > 1)
    rest = tuple(p for p in model.parameters() if p.ndim <= 1)
    return ParameterGroup("weights", weights, True), ParameterGroup("bias-and-norm", rest, False)


def rates(made: ScheduledOptimizer, steps: int) -> list[float]:
    optimizer = made.build(groups_of(network()))
    schedule = made.schedule(optimizer)
    seen = []
    for _ in range(steps):
        assert len({group["lr"] for group in optimizer.param_groups}) == 1
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def train(model: nn.Module, optimizer: Any, schedule: Any, steps: range) -> None:
    for step in steps:
        images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(images).square().mean().backward()
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("kind", BUILT_IN)
def test_every_optimizer_works_with_its_defaults_and_learns(kind: Any) -> None:
    model = network()
    made = component(kind)
    optimizer = made.build(groups_of(model))
    images = torch.randn(16, 3, 8, 8)
    before = model(images).square().mean().item()
    train(model, optimizer, made.schedule(optimizer), range(70))
    assert model(images).square().mean().item() < before


@pytest.mark.parametrize("kind", BUILT_IN)
def test_groups_keep_their_names_and_only_weights_decay(kind: Any) -> None:
    optimizer = component(kind, weight_decay=0.3).build(groups_of(network()))
    found = {group["name"]: group["weight_decay"] for group in optimizer.param_groups}
    assert found == {"weights": 0.3, "bias-and-norm": 0.0}


@pytest.mark.parametrize("kind", [Sgd, AdamW])
def test_decay_shrinks_weights_and_nothing_else(kind: Any) -> None:
    model = network()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = component(kind, lr=0.1, weight_decay=0.3, schedule="constant").build(groups_of(model))
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for p, old in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(p.detach(), old * (0.97 if p.ndim > 1 else 1.0))


def test_weights_without_gradient_stay() -> None:
    for kind in BUILT_IN:
        model = network()
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        component(kind, weight_decay=0.3).build(groups_of(model)).step()
        assert all(torch.equal(before[name], p.detach()) for name, p in model.named_parameters())


def test_cosine_with_warm_up_meets_its_corners_exactly() -> None:
    made = component(Sgd, lr=0.3, warmup_epochs=2, warmup_lr=0.1, final_lr=0.003)
    seen = rates(made, 72)
    assert seen[0] == 0.1
    assert seen[7] == pytest.approx(0.2)
    assert seen[14] == 0.3
    assert seen[69] == seen[70] == seen[71] == 0.003
    assert all(a < b for a, b in pairwise(seen[:15]))
    assert all(a > b for a, b in pairwise(seen[14:70]))


def test_cosine_is_half_way_down_in_the_middle() -> None:
    assert rates(component(Sgd, epochs=1, steps=101, lr=1.0, final_lr=0.5), 101)[50] == pytest.approx(0.75)


def test_constant_stays_at_lr_after_the_warm_up() -> None:
    seen = rates(component(AdamW, lr=0.3, warmup_epochs=0.5, schedule="constant"), 70)
    assert seen[0] == 0.0
    assert seen[4:] == [0.3] * 66


def test_a_training_of_one_step_uses_the_peak() -> None:
    assert rates(component(Sgd, epochs=1, steps=1, lr=0.3), 1) == [0.3]


@pytest.mark.parametrize(
    ("option", "options"),
    [
        ("warmup_epochs", {"warmup_epochs": 10.5}),
        ("warmup_lr", {"warmup_lr": 0.01}),
        ("final_lr", {"final_lr": 0.01, "schedule": "constant"}),
        ("final_lr", {"final_lr": 0.2, "lr": 0.1}),
        ("nesterov", {"nesterov": True, "momentum": 0.0}),
    ],
)
def test_contradicting_options_are_refused(option: str, options: dict[str, Any]) -> None:
    for kind in (Sgd, Lars):
        with pytest.raises(OptionError) as caught:
            component(kind, **options)
        assert caught.value.option == option


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Sgd, {"lr": 0.0}),
        (Sgd, {"weight_decay": -1.0}),
        (Lars, {"trust_coefficient": 0.0}),
        (AdamW, {"betas": [0.9, 1.0]}),
        (AdamW, {"betas": [0.9, "0.99"]}),
        (AdamW, {"momentum": 0.9}),
    ],
)
def test_options_out_of_range_are_refused(kind: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        kind.Options(**options)


def test_betas_may_be_a_list_as_toml_gives_it() -> None:
    assert AdamW.Options.model_validate({"betas": [0.8, 0.95]}).betas == (0.8, 0.95)


@pytest.mark.parametrize("kind", BUILT_IN)
def test_every_option_is_described(kind: Any) -> None:
    assert [name for name, field in kind.Options.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("kind", BUILT_IN)
@pytest.mark.parametrize("stop", [0, 1, 5, 20])
def test_resume_is_bit_identical(kind: Any, stop: int) -> None:
    def start() -> tuple[nn.Module, Any, Any]:
        model = network()
        made = component(kind, epochs=5, steps=6, warmup_epochs=2)
        optimizer = made.build(groups_of(model))
        return model, optimizer, made.schedule(optimizer)

    model, optimizer, schedule = start()
    train(model, optimizer, schedule, range(30))

    first, first_optimizer, first_schedule = start()
    train(first, first_optimizer, first_schedule, range(stop))
    file = io.BytesIO()
    torch.save([first.state_dict(), first_optimizer.state_dict(), first_schedule.state_dict()], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    again = start()
    for part, state in zip(again, states, strict=True):
        part.load_state_dict(state)
    assert again[1].param_groups[0]["lr"] == first_optimizer.param_groups[0]["lr"]
    assert again[2].get_last_lr() == first_schedule.get_last_lr()
    train(*again, range(stop, 30))
    for (name, expected), found in zip(model.state_dict().items(), again[0].state_dict().values(), strict=True):
        assert torch.equal(expected, found), name


def test_a_longer_training_resumes_on_its_own_curve() -> None:
    optimizer = component(Sgd, epochs=2).build(groups_of(network()))
    state = component(Sgd, epochs=2).schedule(optimizer).state_dict()
    state["step"] = 13
    longer = component(Sgd, epochs=4)
    optimizer = longer.build(groups_of(network()))
    schedule = longer.schedule(optimizer)
    schedule.load_state_dict(state)
    assert 0.02 < optimizer.param_groups[0]["lr"] == schedule.lr_at(13) < 0.04


@pytest.mark.parametrize("kind", BUILT_IN)
def test_state_of_another_memory_format_continues_alike(kind: Any) -> None:
    """The fused kernels do not compare strides: state in another layout than its parameter's would be scrambled."""
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        model, made = network(), component(kind, schedule="constant", lr=0.01)
        optimizer = made.build(groups_of(model))
        train(model, optimizer, made.schedule(optimizer), range(3))
        other = network().to(memory_format=memory_format)
        other.load_state_dict(model.state_dict())
        resumed = made.build(groups_of(other))
        resumed.load_state_dict(optimizer.state_dict())
        train(other, resumed, made.schedule(resumed), range(3, 6))
        results.append(other.get_parameter("0.weight").detach().contiguous())
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [Sgd, AdamW, Lars])
def test_a_gradient_that_comes_later_than_others_is_welcome(kind: Any) -> None:
    model = network()
    made = component(kind)
    optimizer = made.build(groups_of(model))
    late = next(model.parameters())
    before = late.detach().clone()
    for step in range(3):
        model(torch.randn(4, 3, 8, 8)).square().sum().backward() if step else _all_but(late, model)
        optimizer.step()
        if not step:
            assert torch.equal(late, before)
        optimizer.zero_grad()
    assert not torch.equal(late, before)


def _all_but(late: nn.Parameter, model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.grad = None if parameter is late else torch.ones_like(parameter)


def test_weights_are_decayed_biases_and_normalisation_are_not() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm((2, 2)), nn.Conv2d(1, 1, 1), nn.Linear(2, 2))
    net[3].requires_grad_(False)
    weights, rest = parameter_groups(net)
    assert [id(p) for p in weights.parameters] == [id(net[0].weight), id(net[2].weight)]
    assert [id(p) for p in rest.parameters] == [id(p) for p in (net[0].bias, net[1].weight, net[1].bias, net[2].bias)]
    assert (weights.decay, rest.decay) == (True, False)


def test_a_strangers_normalisation_says_that_it_is_one() -> None:
    class Response(nn.Module):
        no_decay = True

        def __init__(self) -> None:
            super().__init__()
            self.gamma = nn.Parameter(torch.ones(1, 4, 1, 1))
            self.inner = nn.Linear(4, 4, bias=False)

    own = Response()
    weights, rest = parameter_groups(nn.Sequential(own))
    assert [id(p) for p in weights.parameters] == [id(own.inner.weight)]
    assert [id(p) for p in rest.parameters] == [id(own.gamma)]


def test_every_option_reaches_the_optimizer() -> None:
    own: dict[str, Any] = {"momentum": 0.5, "nesterov": True, "eps": 1e-3, "clip": True, "trust_coefficient": 0.02}
    assert own.items() <= component(Lars, **own).build(groups_of(network())).defaults.items()
    sgd = component(Sgd, momentum=0.5, nesterov=True).build(groups_of(network())).defaults
    assert (sgd["momentum"], sgd["nesterov"]) == (0.5, True)
    adamw = component(AdamW, eps=1e-3, betas=(0.5, 0.75)).build(groups_of(network())).defaults
    assert (adamw["eps"], adamw["betas"]) == (1e-3, (0.5, 0.75))
