"""Run folders may be untrusted. Wrong values are harmless, or raise an error that names the file and the key."""

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
from sslkit.reporting.sections.run import read_table
from sslkit.runs.class_names import read_class_names
from sslkit.runs.evaluation_files import read_evaluations
from sslkit.runs.loggers_file import read_logger_progress
from sslkit.runs.metrics_file import read_metrics
from sslkit.runs.provenance_file import read_provenance
from sslkit.runs.weights_header import KEY, read_metadata
from sslkit.trained.backbone import load_backbone
from sslkit_backbones.convnet import ConvNet

Corrupt = Callable[[dict[str, Any], int], Iterator[tuple[str, dict[str, Any]]]]

WRONG_VALUES: tuple[Any, ...] = (None, "\x1b[31m", -1, 1e300, [], [None], {}, {"a": {}}, float("nan"), True)

DEEPLY_NESTED = "[" * 100_000


def corruptions(tree: dict[str, Any], depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """For every key down to ``depth`` tables, yield the key and the tree without this key or with a wrong value."""
    for key, value in tree.items():
        yield key, {name: other for name, other in tree.items() if name != key}
        yield from ((key, tree | {key: other}) for other in WRONG_VALUES)
        if depth and isinstance(value, dict):
            yield from ((f"{key}.{inner}", tree | {key: changed}) for inner, changed in corruptions(value, depth - 1))


@pytest.fixture(params=[pytest.param(37, id="some"), pytest.param(1, marks=pytest.mark.soak, id="all")])
def corrupt(request: pytest.FixtureRequest) -> Corrupt:
    """Yield a sample of the corruptions of a tree, or all of them."""
    return lambda tree, depth: islice(corruptions(tree, depth), 0, None, request.param)


@pytest.fixture(scope="module")
def evaluated(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(shutil.copytree(finished_run, tmp_path_factory.mktemp("untrusted") / "run"))
    evaluate(run, build_evaluators({"cluster": {}}))
    return run


@pytest.fixture
def run(evaluated: Run, tmp_path: Path) -> Run:
    return Run(shutil.copytree(evaluated.path, tmp_path / "run"))


def export_error(run: Run) -> str:
    """Export the run and return the error message; empty if the export succeeds."""
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


def read_error(read: Callable[[], object]) -> str:
    """Call a reader and return the error message; empty if the reader succeeds."""
    try:
        read()
    except RunError as error:
        return str(error)
    return ""


def replace_by_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def test_provenance(run: Run, corrupt: Corrupt) -> None:
    record = json.loads(run.provenance.read_text())
    for key, changed in corrupt(record, 2):
        run.provenance.write_text(json.dumps(changed))
        message = export_error(run)
        assert not message or message.startswith(f"{run.provenance} is not a valid sslkit record: {key}"), message
    without = {key: value for key, value in record.items() if key != "image_shape"}
    run.provenance.write_text(json.dumps(without))
    assert export_error(run) == f"{run.provenance} is not a valid sslkit record: image_shape: Field required"


@pytest.mark.parametrize("file", ["backbone", "heads"])
def test_metadata_of_weights(run: Run, file: str, corrupt: Corrupt) -> None:
    path = run.backbone if file == "backbone" else run.heads
    weights, metadata = load_file(path), read_metadata(path)
    for key, changed in corrupt(metadata, 1):
        save_file(weights, path, {KEY: json.dumps(changed)})
        message = export_error(run)
        if key == "format":
            assert "\x1b" not in message
            assert f"{path} has run format " in message
        if key in ("mean", "image_size", "context.steps_per_epoch", "classifier") and message:
            assert f"{path} is not a valid sslkit record: {key}" in message
    wrong = {"mean": [0.5, 0.5]} if file == "backbone" else {"head": "x"}
    save_file(weights, path, {KEY: json.dumps(metadata | wrong)})
    reasons = {
        "backbone": "mean: it must have one value for each of 1 channels",
        "heads": "head: the recipe has no head 'x'",
    }
    assert export_error(run) == f"{path} is not a valid sslkit record: {reasons[file]}"


def test_status(run: Run, fail_if_blocked: None) -> None:
    path = run.path / "status.json"
    record = json.loads(path.read_text())
    refused = 0
    for key, changed in corruptions(record, 0):
        path.write_text(json.dumps(changed))
        if message := read_error(lambda: run.status):
            reason = "has run format " if key == "format" else "is not a run folder: its status.json cannot be read ("
            assert message.startswith(f"{run.path} {reason}")
            assert "\x1b" not in message
            refused += 1
        else:
            assert type(run.status.step) is type(run.status.epoch) is int
            assert "\x1b" not in run.status.updated + run.status.process
    assert refused > 40
    path.write_text(json.dumps(record | {"step": "many"}))
    with pytest.raises(RunError, match=r"status.json cannot be read \(step: Input should be a valid integer\)"):
        _ = run.status
    path.write_text(DEEPLY_NESTED)
    with pytest.raises(RunError, match=r"status.json cannot be read \("):
        _ = run.status
    replace_by_pipe(path)
    with pytest.raises(RunError, match=r"status.json cannot be read \(.*it is not a regular file"):
        _ = run.status
    assert not run.has_valid_status


def test_pipes_instead_of_records_do_not_block(run: Run, fail_if_blocked: None) -> None:
    for path in (run.metrics, run.path / "classes.toml", run.path / "loggers.json", run.recipe, run.provenance):
        replace_by_pipe(path)
    readers: dict[Path, Callable[[], object]] = {
        run.metrics: lambda: list(read_metrics(run.metrics)),
        run.path / "classes.toml": lambda: read_class_names(run, 10),
        run.path / "loggers.json": lambda: read_logger_progress(run.path / "loggers.json"),
        run.provenance: lambda: read_provenance(run),
    }
    for path, read in readers.items():
        with pytest.raises(RunError, match=f"{path}.*it is not a regular file"):
            read()
    notes: list[str] = []
    assert read_table(run.recipe, tomllib.loads, notes) == ("", {})
    assert notes == [f"{run.recipe} cannot be read: [Errno 22] it is not a regular file: {str(run.recipe)!r}"]


def test_progress_of_loggers(run: Run) -> None:
    path = run.path / "loggers.json"
    for key, changed in corruptions({"tensorboard": {"rows": 3, "id": "x"}}, 1):
        path.write_text(json.dumps(changed))
        if message := read_error(lambda: read_logger_progress(path)):
            assert message.startswith(f"{path} is not a valid sslkit record: {key.split('.')[0]}")
        else:
            progress = read_logger_progress(path)
            assert all(type(received["rows"]) is int and received["rows"] >= 0 for received in progress.values())


def test_report_of_corrupted_records(run: Run) -> None:
    record = json.loads(run.provenance.read_text())
    recipe = tomllib.loads(run.recipe.read_text())
    for _, changed in corruptions(record, 1):
        recipe_rows(recipe, changed, 10)
        provenance_rows(changed)
    for _, changed in corruptions(recipe, 0):
        recipe_rows(changed, record, 10)
        summary(changed, record, "1 of 2")
    notes: list[str] = []
    run.provenance.write_text(DEEPLY_NESTED)
    assert read_table(run.provenance, json.loads, notes)[1] == {}
    assert notes[0].startswith(f"{run.provenance} cannot be read: ")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "image_size",
            10**12,
            "{path} is not a valid sslkit record: image_size: Input should be",
        ),
        (
            "context.channels",
            10**15,
            "{path} is not a valid sslkit record: context.channels: Input should be",
        ),
        ("backbone.width", 10**13, "tiny/.* was trained with options that backbone 'convnet' of .* no longer has"),
        ("backbone.width", 4096, "the weights {path} cannot be used: .* has 2265124869 values, the file has 139813"),
        (
            "context.channels",
            10**7,
            "the weights {path} cannot be used: backbone 'convnet' .* values, the file has ",
        ),
    ],
)
def test_huge_sizes_in_metadata_are_refused(run: Run, key: str, value: int, message: str) -> None:
    weights, metadata = load_file(run.backbone), read_metadata(run.backbone)
    *parents, last = key.split(".")
    table = metadata[parents[0]] if parents else metadata
    table[last] = value
    save_file(weights, run.backbone, {KEY: json.dumps(metadata)})
    with pytest.raises(RunError, match=message.format(path=re.escape(str(run.backbone)))):
        load_backbone(run.backbone)


def test_backbone_that_cannot_be_built_names_the_weights(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConvNet, "__init__", lambda *args: torch.empty(2**60, device="cpu"))
    message = rf"the weights {run.backbone} cannot be used: .*backbone 'convnet' of .* fails with RuntimeError: "
    with pytest.raises(RunError, match=message):
        load_backbone(run.backbone)


def test_evaluations(run: Run, corrupt: Corrupt) -> None:
    (path,) = run.evaluations.glob("*.json")
    saved = json.loads(path.read_text())
    contents: list[Any] = [*WRONG_VALUES, *(changed for _, changed in corrupt(saved, 2))]
    left_out = 0
    for content in contents:
        path.write_text(json.dumps(content))
        results, damaged = read_evaluations(run)
        assert len(results) + len(damaged) == 1
        left_out += len(damaged)
        assert not export_error(run)
        if not results:
            with pytest.raises(RunError, match="has not been evaluated"):
                run_metrics(run)
    assert left_out > len(WRONG_VALUES)
    path.write_text("[]")
    exported = export(run, "safetensors", run.path / "out.safetensors")
    (note,) = exported.notes
    assert f"{path} is left out of the card: it is not a valid sslkit record: top level: Input should be" in note
