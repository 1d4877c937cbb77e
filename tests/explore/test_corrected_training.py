"""``sslkit train --corrections``: the new run has the corrected classes, and the old run does not change."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from processes.forked_cli import run_sslkit

from sslkit import Run
from sslkit.contracts.evaluator import IGNORED, OUTLIER
from sslkit.errors import InputError, RunError
from sslkit.evaluation.run_subject import RunSubject
from sslkit.explore import corrected_training
from sslkit.explore.corrected_training import _targets, estimate_seconds, train_corrected
from sslkit.explore.run_images import load_run_images
from sslkit.explore.workbench import Workbench
from sslkit.runs.class_names import read_class_names
from sslkit.runs.correction_history import read_untrained_corrections


def ignore_progress(stage: str, done: int, total: int) -> None:
    pass


def test_moved_images_are_labels_and_other_images_keep_their_probabilities() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 1.0], [0.0, 0.0, 5.0]])
    leaders = torch.tensor([0, 1, 0])  # classes 0 and 2 are merged
    moved = torch.tensor([False, True, False])
    targets = _targets(logits, 0.5, leaders, torch.tensor([0, 4, 0]), moved, [0, 1, 4])
    expected = (logits / 0.5).softmax(1)
    torch.testing.assert_close(
        targets[0], torch.stack([expected[0, 0] + expected[0, 2], expected[0, 1], torch.tensor(0.0)])
    )
    assert targets[1].tolist() == [0, 0, 1]
    torch.testing.assert_close(targets.sum(1), torch.ones(3))


def test_the_new_run_has_the_corrected_classes(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrected_training, "STEPS", 60)
    images = load_run_images(run, "cpu", ignore_progress)
    bench = Workbench(run, images)
    bright = [index for index in range(40) if images.labels[index] == 1]
    bench.move(bright[:8], None, "bright")
    bench.mark([0], OUTLIER)
    bench.mark([1], IGNORED)
    bench.move([45], 0)  # a test image
    bench.move([50], None, "rare")  # the class has no training images, so the head does not learn it
    bench.rename(1, "dark")
    bench.rename(0, "dark")
    with pytest.raises(RunError, match="another `sslkit explore` has opened"):
        train_corrected(run, tmp_path / "runs", "cpu", ignore_progress)
    bench.close()
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    result = train_corrected(run, tmp_path / "runs", "cpu", ignore_progress)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    assert (result.moved, result.left_out, result.unused) == (8, 2, 2)
    assert result.followed == 1
    assert result.before is not None
    assert result.after is not None
    names = read_class_names(result.run, result.classes)
    assert names is not None
    assert names[-1] == "bright"
    assert names.count("dark") == 1
    subject = RunSubject(result.run, "cpu")
    logits = subject.features("train").logits
    assert logits is not None
    assert logits.shape[1] == result.classes
    assert any("trained with the corrections of mine/1 (12 images)" in note for note in subject.notes)
    assert (tmp_path / "runs" / "latest").resolve() == result.run.path.resolve()
    # The new run keeps the corrections, with its own class numbers; names must not merge its classes again.
    again = Workbench(result.run, replace(images, logits=result.logits, stability=None))
    again.close()
    assert again.current[bright[:8]].tolist() == [names.index("bright")] * 8
    assert again.current[[0, 1, 45]].tolist() == [OUTLIER, IGNORED, names.index("dark")]
    assert again.current[50] == result.classes
    assert again.names[result.classes] == "rare"
    assert again.corrected.sum() == 12
    assert read_untrained_corrections(result.run) == {}
    report = Run(result.run.path).report(device="cpu")
    assert "bright" in report.read_text()
    assert "trained with the corrections of mine/1 (12 images)" in report.read_text()


def test_a_run_without_corrections_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mine/1 has no corrections: make some with `sslkit explore"):
        train_corrected(run, tmp_path / "runs", "cpu", ignore_progress)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["mine"]


def test_the_command_prints_both_accuracies(run: Run, tmp_path: Path) -> None:
    bench = Workbench(run, load_run_images(run, "cpu", ignore_progress))
    bench.move([0, 1], int(bench.current[30]))
    bench.close()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SSLKIT_RUNS": str(tmp_path / "new")}
    done = run_sslkit(["train", "--corrections", str(run.path)], environment, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 moved training images were labels" in done.stdout
    assert "without corrections, " in done.stdout
    assert "The classes have new numbers, which differ from those of mine/1." in done.stdout
    *_, explore, predict = done.stdout.splitlines()
    assert (explore.split()[1], predict.split()[1]) == ("explore", "predict")
    done = run_sslkit(["train", "--corrections", str(run.path), "--json"], environment, tmp_path)
    assert json.loads(done.stdout)["moved"] == 2
    done = run_sslkit(["train", "recipe.toml", "--corrections", str(run.path)], environment, tmp_path)
    assert done.returncode == 2
    assert "takes no other arguments" in done.stderr


def test_the_estimate_is_the_time_of_a_few_steps_times_their_number(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    images = load_run_images(run, "cpu", ignore_progress)
    bench = Workbench(run, images)
    monkeypatch.setattr(corrected_training, "MEASURED_STEPS", 2)
    times = iter([100.0, 103.0])
    monkeypatch.setattr(corrected_training.time, "perf_counter", lambda: next(times))
    steps = corrected_training.STEPS + len(images) / corrected_training.BATCH_SIZE / 3
    assert estimate_seconds(bench, "cpu") == pytest.approx(3 / 2 * steps)
    bench.close()
