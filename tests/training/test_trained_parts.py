"""Which parts of a backbone are trained, and with which learning rates."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from equal_runs import assert_equal_runs
from safetensors.torch import load_file
from torch import Tensor, nn

import sslkit
from sslkit.assembly.assemble import assemble
from sslkit.device.hardware import choose_hardware
from sslkit.errors import RecipeError
from sslkit.optimizers.lars import Lars
from sslkit.optimizers.torch_optimizers import AdamW, Sgd
from sslkit.recipe.load import load_recipe
from sslkit.training.checkpoint.checkpoint_files import load_checkpoint
from sslkit.training.learner import Learner
from sslkit.training.train import resume, train

SETTINGS = ["train.epochs=1", "backbone.width=4", "optimizer.lr=0.01"]
TEACHER = [
    "method={use='momentum-teacher', momentum=0.5}",
    "head={use='projection', hidden_dim=8}",
    "loss={use='byol'}",
]


def changed(run: Any, before: dict[str, Tensor]) -> set[str]:
    """Return the names of the backbone's tensors that training has changed."""
    after = load_file(run.backbone)
    return {name for name, value in before.items() if not torch.equal(after[name], value)}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("all", lambda name: True),
        ("none", lambda name: False),
        ("last 1 block", lambda name: name.startswith("layers.4.")),
        ("last 2 blocks", lambda name: name.startswith(("layers.3.", "layers.4."))),
        ("last 5 blocks", lambda name: True),
        ("norms", lambda name: name.split(".")[2] == "1"),
    ],
)
@pytest.mark.parametrize("method", [[], TEACHER], ids=["student", "teacher"])
def test_exactly_the_trained_parts_change(
    tiny: Path, tmp_path: Path, part: str, expected: Any, method: list[str]
) -> None:
    recipe = load_recipe(tiny, [*SETTINGS, *method, f"backbone.train='{part}'"])
    backbone = assemble(recipe).method.backbone
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    run = train(recipe, tmp_path / "runs")
    assert changed(run, before) == {name for name in before if expected(name)}
    state = load_checkpoint(run.last_checkpoint)["state_dict"]
    teacher = {name: state[f"method.teacher.{name}"] for name in before} if method else {}
    frozen = [name for name in teacher if not expected(name)]
    assert all(torch.equal(teacher[name], before[name]) for name in frozen)
    assert set(teacher) - set(frozen) == {name for name in teacher if not torch.equal(teacher[name], before[name])}


def test_frozen_parts_stay_in_eval_mode(tiny: Path) -> None:
    assembly = assemble(load_recipe(tiny, [*SETTINGS, "backbone.train='last 1 block'"]))
    learner = Learner(assembly, choose_hardware("cpu", "float32"))
    for mode in (None, True, False, True):
        if mode is not None:
            learner.train(mode)
        modes = [layer.training for layer in assembly.method.backbone.layers]
        assert modes == [False] * 4 + [mode is not False]


@pytest.mark.parametrize(
    ("part", "backbone", "message"),
    [
        ("last 6 blocks", "convnet", "backbone.train: the backbone has 5 blocks"),
        ("norms", "alexnet", "backbone.train: the backbone has no normalisation layers with parameters"),
    ],
)
def test_parts_that_a_backbone_does_not_have(tiny: Path, part: str, backbone: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        assemble(load_recipe(tiny, [f"backbone={{use='{backbone}', train='{part}'}}"]))


@pytest.mark.parametrize("part", ["first 2 blocks", "last 0 blocks", "last two blocks", "All", ""])
def test_an_unknown_part_is_an_error_of_the_recipe(tiny: Path, part: str) -> None:
    with pytest.raises(RecipeError, match=r"backbone\.train"):
        load_recipe(tiny, [f"backbone.train='{part}'"])


@pytest.mark.parametrize(
    ("backbone", "first", "count"),
    [("convnet", "layers.0", 5), ("alexnet", "features.0", 5), ("resnet18", ("conv1", "bn1"), 5)],
)
def test_blocks_of_the_backbones(tiny: Path, backbone: str, first: Any, count: int) -> None:
    network = assemble(load_recipe(tiny, [f"backbone={{use='{backbone}'}}", "train.batch_size=8"])).method.backbone
    blocks = network.blocks()
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert len(blocks) == count
    assert {names[id(parameter)] for parameter in blocks[0]} == {
        name for name in names.values() if name.startswith(first)
    }
    assert sorted(names[id(parameter)] for block in blocks for parameter in block) == sorted(names.values())


def rates(assembly: Any, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """Return the learning rate of each parameter."""
    names = {id(parameter): name for name, parameter in assembly.method.named_parameters()}
    return {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lars"])
def test_learning_rates_of_the_backbone(tiny: Path, optimizer: str) -> None:
    settings = ["backbone.lr_scale=0.5", "backbone.layer_decay=0.1", f"optimizer={{use='{optimizer}', lr=0.8}}"]
    assembly = assemble(load_recipe(tiny, settings))
    configured = Learner(assembly, choose_hardware("cpu", "float32")).configure_optimizers()
    built, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    for step in range(assembly.context.total_steps):
        found = rates(assembly, built)
        peak = 0.8 * (1 + math.cos(math.pi * step / 9)) / 2
        for name, rate in found.items():
            layer = int(name.split(".")[2]) if name.startswith("backbone.") else None
            scale = 1 if layer is None else 0.5 * 0.1 ** (4 - layer)
            assert rate == pytest.approx(peak * scale, abs=1e-12), name
        assert len(found) == len(list(assembly.method.parameters()))
        built.step()
        schedule.step()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lars"])
def test_updates_follow_the_scaled_learning_rates(optimizer: str) -> None:
    """A parameter with the scale s changes as with the learning rate s * lr."""
    component: Any = {"sgd": Sgd, "adamw": AdamW, "lars": Lars}[optimizer]
    context = sslkit.Context(1, 8, (0.5,), (0.2,), 4, 5, 2)

    def updates(lr: float, scale: float) -> Tensor:
        parameter = nn.Parameter(torch.linspace(-1, 1, 12).reshape(3, 4))
        built = component(component.Options(lr=lr), context).build(
            (sslkit.ParameterGroup("weights", (parameter,), True, scale),)
        )
        schedule = component(component.Options(lr=lr), context).schedule(built)
        for step in range(4):
            parameter.grad = torch.full_like(parameter, 0.1 * (step + 1))
            built.step()
            schedule.step()
        return parameter.detach()

    torch.testing.assert_close(updates(0.4, 0.25), updates(0.1, 1.0), rtol=1e-6, atol=0)
    assert not torch.allclose(updates(0.4, 0.25), updates(0.4, 1.0), rtol=1e-3)


@pytest.mark.parametrize("change", ["", "optimizer.lr=0.02"])
def test_a_resumed_run_keeps_the_learning_rates(tiny: Path, tmp_path: Path, stop_at: Any, change: str) -> None:
    settings = [*SETTINGS, "backbone.lr_scale=0.5", "backbone.layer_decay=0.1", "backbone.train='last 3 blocks'"]
    recipe = load_recipe(tiny, settings)
    uninterrupted = train(recipe, tmp_path / "uninterrupted")
    run = train(recipe, tmp_path / "runs", stop_at([2]))
    if not change:
        assert_equal_runs(resume(run), uninterrupted)
        return
    run.recipe.write_text(load_recipe(tiny, [*settings, change]).to_toml())
    resume(run, allow=["recipe"])
    groups = load_checkpoint(run.last_checkpoint)["optimizer_states"][0]["param_groups"]
    expected = load_checkpoint(uninterrupted.last_checkpoint)["optimizer_states"][0]["param_groups"]
    assert {round(group["lr_scale"], 9) for group in groups} == {1.0, 0.5, 0.05, 0.005}
    for group, before in zip(groups, expected, strict=True):
        assert group["lr_scale"] == before["lr_scale"]
        assert group["lr"] == pytest.approx(2 * before["lr"])
