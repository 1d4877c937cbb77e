from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from notes import Notes
from safetensors.torch import load_file
from shipped import GREY

from sslkit.recipe.check import load_recipe
from sslkit.runs.metrics_file import read_history
from sslkit.training import compile as compiled
from sslkit.training.train import train


@pytest.mark.parametrize("backend", ["counting", pytest.param("inductor", marks=pytest.mark.soak, id="inductor")])
def test_a_compiled_network_learns_the_same_and_tells_its_cost(
    backend: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs: list[torch.fx.GraphModule] = []

    def counting(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        graphs.append(graph)
        return graph

    monkeypatch.setattr(compiled, "BACKEND", counting if backend == "counting" else backend)
    # Adam would blow the rounding of gradients that are almost 0 up to whole steps.
    sgd = ["optimizer={use='sgd', lr=0.05}", "train.precision=float32"]
    plain = train(load_recipe(tiny, sgd), tmp_path / "plain")
    reporter = Notes()
    fast = train(load_recipe(tiny, [*sgd, "train.compile=true"]), tmp_path / "compiled", reporter)
    if backend == "counting":
        assert len(graphs) == 1  # once: the monitors, whose batches have another shape, did not compile it again
    one, other = load_file(plain.backbone), load_file(fast.backbone)
    assert one.keys() == other.keys()
    # Not element by element: where rounding turns a ReLU's sign, a gradient jumps.
    for name, value in one.items():
        assert (other[name] - value).double().norm() <= 0.01 * value.double().norm() + 1e-3, name
    losses = [[row.value for row in read_history(run.metrics) if row.metric == "loss"] for run in (plain, fast)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    told = [note for note in reporter.notes if note.startswith("train.compile")]
    assert len(told) == 1
    assert re.fullmatch(r"train\.compile: compiling took \d+\.\d s of the first step, the next \d+\.\d\d s", told[0])


def test_views_of_each_size_are_compiled_by_themselves(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides: list[set[object]] = []

    def keeping(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        sides.append({side for value in inputs for side in getattr(value, "shape", (value,))})
        return graph

    monkeypatch.setattr(compiled, "BACKEND", keeping)
    views = {"use": '"crops"', "size": 8, "local_crops": 2, "local_size": 6} | GREY
    crops = ", ".join(f"{option}={value}" for option, value in views.items())
    train(load_recipe(tiny, ["train.compile=true", "train.epochs=1", f"views={{{crops}}}"]), tmp_path)
    assert len(sides) == 2
    assert [[type(side) for side in found if type(side) is not int] for found in sides] == [[], []]
    assert [8 in sides[0], 6 in sides[1]] == [True, True]
