"""Run folders from strangers: whatever their JSON holds, it is refused with the file and the key, or does no harm."""

from __future__ import annotations

import json
import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sslkit.api import Run
from sslkit.errors import RunError, SslkitError
from sslkit.evaluation.build_evaluators import build_evaluators
from sslkit.evaluation.evaluate import evaluate
from sslkit.export.export import export
from sslkit.reporting.compare import run_metrics
from sslkit.reporting.sections.provenance import provenance_rows
from sslkit.reporting.sections.recipe import recipe_rows, summary
from sslkit.reporting.sections.run import parse_table, read_text
from sslkit.runs.class_names import read_class_names
from sslkit.runs.metrics_file import read_metrics
from sslkit.runs.evaluation_files import read_evaluations
from sslkit.runs.loggers_file import read_logger_progress
from sslkit.runs.provenance_file import read_provenance
from sslkit.runs.weights import KEY, read_metadata
from sslkit.trained.backbone import load_backbone
from sslkit_backbones.convnet import ConvNet

Wrong = Callable[[dict[str, Any], int], Iterator[tuple[str, dict[str, Any]]]]

WRONG: tuple[Any, ...] = (None, "\x1b[31m", -1, 1e300, [], [None], {}, {"a": {}}, float("nan"), True)


def every_wrong(tree: dict[str, Any], depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tree with one value, at most so many tables down, replaced by each wrong one or gone; with its key."""
    for key, value in tree.items():
        yield key, {name: other for name, other in tree.items() if name != key}
        yield from ((key, tree | {key: other}) for other in WRONG)
        if depth and isinstance(value, dict):
            yield from ((f"{key}.{inner}", tree | {key: changed}) for inner, changed in every_wrong(value, depth - 1))


@pytest.fixture(params=[pytest.param(37, id="some"), pytest.param(1, marks=pytest.mark.soak, id="all")])
def wrong(request: pytest.FixtureRequest) -> Wrong:
    """Some of those trees, or all."""
    return lambda tree, depth: islice(every_wrong(tree, depth), 0, None, request.param)


@pytest.fixture(scope="module")
def evaluated(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(shutil.copytree(finished_run, tmp_path_factory.mktemp("hostile") / "run"))
    evaluate(run, build_evaluators({"cluster": {}}))
    return run


@pytest.fixture
def run(evaluated: Run, tmp_path: Path) -> Run:
    return Run(shutil.copytree(evaluated.path, tmp_path / "run"))


def carry_off(run: Run) -> str:
    """What export says of the run; empty where it exports it."""
    out = run.path / "out.safetensors"
    try:
        export(run, "safetensors", out)
    except SslkitError as error:
        return str(error)
    card = out.with_name("out.safetensors.md")
    assert "\x1b" not in card.read_text()
    card.unlink()
    out.unlink()
    return ""


def test_provenance(run: Run, wrong: Wrong) -> None:
    record = json.loads(run.provenance.read_text())
    for key, changed in wrong(record, 2):
        run.provenance.write_text(json.dumps(changed))
        said = carry_off(run)
        assert not said or said.startswith(f"{run.provenance} is not a valid sslkit record: {key}"), said
    without = {key: value for key, value in record.items() if key != "image_shape"}
    run.provenance.write_text(json.dumps(without))
    assert carry_off(run) == f"{run.provenance} is not a valid sslkit record: image_shape: Field required"


@pytest.mark.parametrize("file", ["backbone", "heads"])
def test_what_stands_beside_weights(run: Run, file: str, wrong: Wrong) -> None:
    path = run.backbone if file == "backbone" else run.heads
    weights, facts = load_file(path), read_metadata(path)
    for key, changed in wrong(facts, 1):
        save_file(weights, path, {KEY: json.dumps(changed)})
        said = carry_off(run)
        if key in ("mean", "image_size", "context.steps_per_epoch", "classifier") and said:
            assert f"{path} is not a valid sslkit record: {key}" in said
    save_file(weights, path, {KEY: json.dumps(facts | ({"mean": [0.5, 0.5]} if file == "backbone" else {"head": "x"}))})
    reason = "mean: the images have 1 channels" if file == "backbone" else "head: the recipe has none called 'x'"
    assert carry_off(run) == f"{path} is not a valid sslkit record: {reason}"


DEEP = "[" * 100_000


def refusal(read: Callable[[], object]) -> str:
    """What a reader says; empty where it reads."""
    try:
        read()
    except RunError as error:
        return str(error)
    return ""


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def test_status(run: Run, fail_if_blocked: None) -> None:
    path = run.path / "status.json"
    record = json.loads(path.read_text())
    refused = 0
    for _, changed in every_wrong(record, 0):
        path.write_text(json.dumps(changed))
        if said := refusal(lambda: run.status):
            assert said.startswith(f"{run.path} is not a run folder: its status.json cannot be read (")
            refused += 1
        else:
            assert type(run.status.step) is type(run.status.epoch) is int
            assert "\x1b" not in run.status.updated + run.status.process
    assert refused > 40
    path.write_text(json.dumps(record | {"step": "many"}))
    with pytest.raises(RunError, match=r"status.json cannot be read \(step: Input should be a valid integer\)"):
        _ = run.status
    path.write_text(DEEP)
    with pytest.raises(RunError, match=r"status.json cannot be read \("):
        _ = run.status
    pipe(path)
    with pytest.raises(RunError, match=r"status.json cannot be read \(.*it is not a regular file"):
        _ = run.status
    assert not run.has_valid_status


def test_pipes_in_place_of_records_are_not_waited_for(run: Run, fail_if_blocked: None) -> None:
    for path in (run.metrics, run.path / "classes.toml", run.path / "loggers.json", run.recipe, run.provenance):
        pipe(path)
    reads: dict[Path, Callable[[], object]] = {
        run.metrics: lambda: list(read_metrics(run.metrics)),
        run.path / "classes.toml": lambda: read_class_names(run, 10),
        run.path / "loggers.json": lambda: read_logger_progress(run.path / "loggers.json"),
        run.provenance: lambda: read_provenance(run),
    }
    for path, read in reads.items():
        with pytest.raises(RunError, match=f"{path}.*it is not a regular file"):
            read()
    notes: list[str] = []
    assert read_text(run.recipe, notes) == ""
    assert notes == [f"{run.recipe} cannot be read: [Errno 22] it is not a regular file: {str(run.recipe)!r}"]


def test_what_loggers_were_sent(run: Run) -> None:
    path = run.path / "loggers.json"
    for key, changed in every_wrong({"tensorboard": {"rows": 3, "id": "x"}}, 1):
        path.write_text(json.dumps(changed))
        if said := refusal(lambda: read_logger_progress(path)):
            assert said.startswith(f"{path} is not a valid sslkit record: {key.split('.')[0]}")
        else:
            assert all(type(sent["rows"]) is int and sent["rows"] >= 0 for sent in read_logger_progress(path).values())


def test_a_report_of_strange_records(run: Run) -> None:
    record = json.loads(run.provenance.read_text())
    recipe = tomllib.loads(run.recipe.read_text())
    for _, changed in every_wrong(record, 1):
        recipe_rows(recipe, changed, 10)
        provenance_rows(changed)
    for _, changed in every_wrong(recipe, 0):
        recipe_rows(changed, record, 10)
        summary(changed, record, "1 of 2")
    notes: list[str] = []
    assert parse_table(json.loads, DEEP, run.provenance, notes) == {}
    assert notes[0].startswith(f"{run.provenance} cannot be read: ")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            "image_size",
            10**12,
            "{path} is not a valid sslkit record: image_size: Input should be less than or equal to",
        ),
        (
            "context.channels",
            10**15,
            "{path} is not a valid sslkit record: context.channels: Input should be less than",
        ),
        ("backbone.width", 10**13, "tiny/.* was trained with options that backbone 'convnet' of .* no longer has"),
        ("backbone.width", 4096, "the weights {path} cannot be used: .* has 2265124869 numbers, the file 139813"),
        ("context.channels", 10**7, "the weights {path} cannot be used: backbone 'convnet' of .* numbers, the file "),
    ],
)
def test_absurd_sizes_beside_weights(run: Run, key: str, value: int, said: str) -> None:
    weights, facts = load_file(run.backbone), read_metadata(run.backbone)
    *above, last = key.split(".")
    table = facts[above[0]] if above else facts
    table[last] = value
    save_file(weights, run.backbone, {KEY: json.dumps(facts)})
    with pytest.raises(RunError, match=said.format(path=re.escape(str(run.backbone)))):
        load_backbone(run.backbone)


def test_a_backbone_that_cannot_be_built_names_the_weights(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConvNet, "__init__", lambda *args: torch.empty(2**60, device="cpu"))
    with pytest.raises(RunError) as error:
        load_backbone(run.backbone)
    assert str(error.value).startswith(f"the weights {run.backbone} cannot be used: building backbone 'convnet' of ")
    assert " with the options beside them fails with RuntimeError: " in str(error.value)


def test_evaluations(run: Run, wrong: Wrong) -> None:
    (path,) = run.evaluations.glob("*.json")
    saved = json.loads(path.read_text())
    everything: list[Any] = [*WRONG, *(changed for _, changed in wrong(saved, 2))]
    left_out = 0
    for changed in everything:
        path.write_text(json.dumps(changed))
        results, damaged = read_evaluations(run)
        assert len(results) + len(damaged) == 1
        left_out += len(damaged)
        assert not carry_off(run)
        if not results:
            with pytest.raises(RunError, match="has not been evaluated"):
                run_metrics(run)
    assert left_out > len(WRONG)
    path.write_text("[]")
    exported = export(run, "safetensors", run.path / "out.safetensors")
    assert exported.notes == (
        f"{path} is left out of the card: it is not a valid sslkit record: top level: Input should be a dictionary",
    )
