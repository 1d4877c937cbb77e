"""Compiled backbones train like uncompiled backbones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from equal_runs import metric_rows
from recording_reporter import RecordingReporter
from safetensors.torch import load_file
from shipped_recipes import GREY

from sslkit.recipe.load import load_recipe
from sslkit.training import compilation
from sslkit.training.train import train


@pytest.mark.parametrize("backend", ["counting", pytest.param("inductor", marks=pytest.mark.soak, id="inductor")])
def test_a_compiled_network_learns_the_same_and_reports_the_cost(
    backend: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs: list[torch.fx.GraphModule] = []

    def counting(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        graphs.append(graph)
        return graph

    monkeypatch.setattr(compilation, "BACKEND", counting if backend == "counting" else backend)
    # Not Adam, which would turn rounding errors of gradients near 0 into full steps.
    sgd = ["optimizer={use='sgd', lr=0.05}", "train.precision=float32"]
    plain = train(load_recipe(tiny, sgd), tmp_path / "plain")
    reporter = RecordingReporter()
    compiled = train(load_recipe(tiny, [*sgd, "train.compile=true"]), tmp_path / "compiled", reporter)
    if backend == "counting":
        assert len(graphs) == 1  # validation has different batch shapes and must not compile again
    expected, actual = load_file(plain.backbone), load_file(compiled.backbone)
    assert expected.keys() == actual.keys()
    # Not each element, because a rounding error can change the sign at a ReLU and so a gradient.
    for name, value in expected.items():
        assert (actual[name] - value).double().norm() <= 0.01 * value.double().norm() + 1e-3, name
    losses = [[row.value for row in metric_rows(run) if row.metric == "loss"] for run in (plain, compiled)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    (note,) = [note for note in reporter.notes if note.startswith("train.compile")]
    assert re.fullmatch(r"train\.compile: compiling took \d+\.\d s of the first step, the next \d+\.\d\d s", note)


def test_each_view_size_has_its_own_graph(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[set[object]] = []

    def record_sizes(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        sizes.append({size for value in inputs for size in getattr(value, "shape", (value,))})
        return graph

    monkeypatch.setattr(compilation, "BACKEND", record_sizes)
    views = {"use": '"crops"', "size": 8, "local_crops": 2, "local_size": 6} | GREY
    crops = ", ".join(f"{option}={value}" for option, value in views.items())
    train(load_recipe(tiny, ["train.compile=true", "train.epochs=1", f"views={{{crops}}}"]), tmp_path)
    assert len(sizes) == 2
    assert [[type(size) for size in found if type(size) is not int] for found in sizes] == [[], []]
    assert [8 in sizes[0], 6 in sizes[1]] == [True, True]
