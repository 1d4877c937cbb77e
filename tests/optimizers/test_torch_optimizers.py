"""SGD, AdamW and the schedule: weight decay, exact learning rates, bit-identical resume."""

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
from sslkit.optimizers.lars import Lars
from sslkit.optimizers.parameter_groups import parameter_groups
from sslkit.optimizers.schedule import ScheduledOptimizer
from sslkit.optimizers.torch_optimizers import AdamW, Sgd

BUILT_IN = [Sgd, AdamW, Lars]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread, because more threads slow down such a small network."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def context(epochs: int = 10, steps: int = 7) -> Context:
    return Context(
        channels=3, image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3, batch_size=4, steps_per_epoch=steps, epochs=epochs
    )


def make_component(kind: Any, epochs: int = 10, steps: int = 7, **options: Any) -> ScheduledOptimizer:
    optimizer: ScheduledOptimizer = kind(kind.Options(**options), context(epochs, steps))
    return optimizer


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 36, 4))


def make_groups(model: nn.Module) -> tuple[ParameterGroup, ...]:
    weights = tuple(p for p in model.parameters() if p.ndim > 1)
    others = tuple(p for p in model.parameters() if p.ndim <= 1)
    return ParameterGroup("weights", weights, True), ParameterGroup("bias-and-norm", others, False)


def rates(component: ScheduledOptimizer, steps: int) -> list[float]:
    optimizer = component.build(make_groups(network()))
    schedule = component.schedule(optimizer)
    lrs = []
    for _ in range(steps):
        assert len({group["lr"] for group in optimizer.param_groups}) == 1
        lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return lrs


def train(model: nn.Module, optimizer: Any, schedule: Any, steps: range) -> None:
    for step in steps:
        images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(images).square().mean().backward()
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("kind", BUILT_IN)
def test_every_optimizer_learns_with_its_defaults(kind: Any) -> None:
    model = network()
    component = make_component(kind)
    optimizer = component.build(make_groups(model))
    images = torch.randn(16, 3, 8, 8)
    before = model(images).square().mean().item()
    train(model, optimizer, component.schedule(optimizer), range(70))
    assert model(images).square().mean().item() < before


@pytest.mark.parametrize("kind", BUILT_IN)
def test_groups_have_names_and_only_weights_decay(kind: Any) -> None:
    optimizer = make_component(kind, weight_decay=0.3).build(make_groups(network()))
    decays = {group["name"]: group["weight_decay"] for group in optimizer.param_groups}
    assert decays == {"weights": 0.3, "bias-and-norm": 0.0}


@pytest.mark.parametrize("kind", [Sgd, AdamW])
def test_decay_shrinks_only_weights(kind: Any) -> None:
    model = network()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = make_component(kind, lr=0.1, weight_decay=0.3, schedule="constant").build(make_groups(model))
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for p, old in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(p.detach(), old * (0.97 if p.ndim > 1 else 1.0))


def test_weights_without_gradient_do_not_change() -> None:
    for kind in BUILT_IN:
        model = network()
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        make_component(kind, weight_decay=0.3).build(make_groups(model)).step()
        assert all(torch.equal(before[name], p.detach()) for name, p in model.named_parameters())


def test_cosine_with_warm_up_has_exact_end_points() -> None:
    component = make_component(Sgd, lr=0.3, warmup_epochs=2, warmup_lr=0.1, final_lr=0.003)
    lrs = rates(component, 72)
    assert lrs[0] == 0.1
    assert lrs[7] == pytest.approx(0.2)
    assert lrs[14] == 0.3
    assert lrs[69] == lrs[70] == lrs[71] == 0.003
    assert all(a < b for a, b in pairwise(lrs[:15]))
    assert all(a > b for a, b in pairwise(lrs[14:70]))


def test_cosine_has_its_mean_value_in_the_middle() -> None:
    assert rates(make_component(Sgd, epochs=1, steps=101, lr=1.0, final_lr=0.5), 101)[50] == pytest.approx(0.75)


def test_a_warm_up_may_be_a_percentage_of_the_training() -> None:
    options = {"lr": 0.3, "schedule": "constant"}
    for share, epochs in (("15%", 1.5), ("12.5 %", 1.25), ("0%", 0)):
        assert rates(make_component(Sgd, warmup_epochs=share, **options), 70) == rates(
            make_component(Sgd, warmup_epochs=epochs, **options), 70
        )


def test_constant_keeps_lr_after_the_warm_up() -> None:
    lrs = rates(make_component(AdamW, lr=0.3, warmup_epochs=0.5, schedule="constant"), 70)
    assert lrs[0] == 0.0
    assert lrs[4:] == [0.3] * 66


def test_a_training_of_one_step_uses_the_peak_rate() -> None:
    assert rates(make_component(Sgd, epochs=1, steps=1, lr=0.3), 1) == [0.3]


@pytest.mark.parametrize(
    ("option", "options"),
    [
        ("warmup_lr", {"warmup_lr": 0.01}),
        ("final_lr", {"final_lr": 0.01, "schedule": "constant"}),
        ("final_lr", {"final_lr": 0.2, "lr": 0.1}),
        ("nesterov", {"nesterov": True, "momentum": 0.0}),
    ],
)
def test_contradicting_options_raise(option: str, options: dict[str, Any]) -> None:
    for kind in (Sgd, Lars):
        with pytest.raises(OptionError) as caught:
            make_component(kind, **options)
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
def test_options_out_of_range_raise(kind: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        kind.Options(**options)


def test_betas_may_be_a_list_as_in_toml() -> None:
    assert AdamW.Options.model_validate({"betas": [0.8, 0.95]}).betas == (0.8, 0.95)


@pytest.mark.parametrize("kind", BUILT_IN)
def test_every_option_is_described(kind: Any) -> None:
    assert [name for name, field in kind.Options.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("kind", BUILT_IN)
@pytest.mark.parametrize("stop", [0, 1, 5, 20])
def test_resume_is_bit_identical(kind: Any, stop: int) -> None:
    def start() -> tuple[nn.Module, Any, Any]:
        model = network()
        component = make_component(kind, epochs=5, steps=6, warmup_epochs=2)
        optimizer = component.build(make_groups(model))
        return model, optimizer, component.schedule(optimizer)

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
    for (name, expected), actual in zip(model.state_dict().items(), again[0].state_dict().values(), strict=True):
        assert torch.equal(expected, actual), name


def test_a_training_resumed_with_more_epochs_follows_the_longer_curve() -> None:
    optimizer = make_component(Sgd, epochs=2).build(make_groups(network()))
    state = make_component(Sgd, epochs=2).schedule(optimizer).state_dict()
    state["step"] = 13
    longer = make_component(Sgd, epochs=4)
    optimizer = longer.build(make_groups(network()))
    schedule = longer.schedule(optimizer)
    schedule.load_state_dict(state)
    assert 0.02 < optimizer.param_groups[0]["lr"] == schedule.lr_at(13) < 0.04


@pytest.mark.parametrize("kind", BUILT_IN)
def test_state_of_another_memory_format_gives_the_same_updates(kind: Any) -> None:
    """The fused kernels assume equal strides of parameter and state."""
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        model, component = network(), make_component(kind, schedule="constant", lr=0.01)
        optimizer = component.build(make_groups(model))
        train(model, optimizer, component.schedule(optimizer), range(3))
        other = network().to(memory_format=memory_format)
        other.load_state_dict(model.state_dict())
        resumed = component.build(make_groups(other))
        resumed.load_state_dict(optimizer.state_dict())
        train(other, resumed, component.schedule(resumed), range(3, 6))
        results.append(other.get_parameter("0.weight").detach().contiguous())
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [Sgd, AdamW, Lars])
def test_a_parameter_may_get_its_first_gradient_late(kind: Any) -> None:
    model = network()
    component = make_component(kind)
    optimizer = component.build(make_groups(model))
    late = next(model.parameters())
    before = late.detach().clone()
    for step in range(3):
        model(torch.randn(4, 3, 8, 8)).square().sum().backward() if step else _set_other_gradients(late, model)
        optimizer.step()
        if not step:
            assert torch.equal(late, before)
        optimizer.zero_grad()
    assert not torch.equal(late, before)


def _set_other_gradients(late: nn.Parameter, model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.grad = None if parameter is late else torch.ones_like(parameter)


def test_weights_decay_biases_and_normalisation_do_not() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm((2, 2)), nn.Conv2d(1, 1, 1), nn.Linear(2, 2))
    net[3].requires_grad_(False)
    weights, others = parameter_groups(net)
    assert [id(p) for p in weights.parameters] == [id(net[0].weight), id(net[2].weight)]
    assert [id(p) for p in others.parameters] == [id(p) for p in (net[0].bias, net[1].weight, net[1].bias, net[2].bias)]
    assert (weights.decay, others.decay) == (True, False)


def test_a_third_party_normalisation_layer_declares_no_decay() -> None:
    class CustomNorm(nn.Module):
        no_decay = True

        def __init__(self) -> None:
            super().__init__()
            self.gamma = nn.Parameter(torch.ones(1, 4, 1, 1))
            self.inner = nn.Linear(4, 4, bias=False)

    layer = CustomNorm()
    weights, others = parameter_groups(nn.Sequential(layer))
    assert [id(p) for p in weights.parameters] == [id(layer.inner.weight)]
    assert [id(p) for p in others.parameters] == [id(layer.gamma)]


def test_a_module_names_parameters_without_decay() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cls_token = nn.Parameter(torch.zeros(1, 1, 4))
            self.inner = nn.Linear(4, 4, bias=False)

        def no_weight_decay(self) -> set[str]:
            return {"cls_token", "dist_token"}  # timm also names parameters that a model does not have

    layer = Tokens()
    weights, others = parameter_groups(nn.Sequential(layer))
    assert [id(p) for p in weights.parameters] == [id(layer.inner.weight)]
    assert [id(p) for p in others.parameters] == [id(layer.cls_token)]


def test_every_option_reaches_the_optimizer() -> None:
    options: dict[str, Any] = {"momentum": 0.5, "nesterov": True, "eps": 1e-3, "clip": True, "trust_coefficient": 0.02}
    assert options.items() <= make_component(Lars, **options).build(make_groups(network())).defaults.items()
    sgd = make_component(Sgd, momentum=0.5, nesterov=True).build(make_groups(network())).defaults
    assert (sgd["momentum"], sgd["nesterov"]) == (0.5, True)
    adamw = make_component(AdamW, eps=1e-3, betas=(0.5, 0.75)).build(make_groups(network())).defaults
    assert (adamw["eps"], adamw["betas"]) == (1e-3, (0.5, 0.75))
