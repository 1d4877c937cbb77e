"""A run goes on with the recipe and the data that it was begun with, or says what has changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from notes import Notes

from sslkit.contracts.dataset import Split
from sslkit.data.datasets.digits import Digits
from sslkit.data.store import TensorStore
from sslkit.errors import RunError
from sslkit.recipe.check import load_recipe
from sslkit.runs.metrics_file import read_history
from sslkit.runs.run import Run
from sslkit.training.checkpoint.files import load_checkpoint
from sslkit.training.train import resume, train

SMALL = ["backbone.width=4", "train.batch_size=700", "monitor.every_epochs=0"]


@pytest.fixture
def run(tiny: Path, tmp_path: Path, stop_at) -> Run:
    return train(load_recipe(tiny, [*SMALL, "train.epochs=1"]), tmp_path / "runs", stop_at([1]))


def edit(run: Run, old: str, new: str) -> None:
    text = run.recipe.read_text()
    assert old in text
    run.recipe.write_text(text.replace(old, new))


def test_a_changed_recipe_is_refused_unless_asked_for(run: Run) -> None:
    edit(run, "lr = 0.001", "lr = 0.02")
    edit(run, "epochs = 1\n", "epochs = 2\n")
    with pytest.raises(RunError) as error:
        resume(run)
    assert str(error.value) == (
        f"{run.name} cannot go on, something has changed since it was stopped:\n"
        "  recipe: train.epochs was 1, is 2\n"
        "  recipe: optimizer.lr was 0.001, is 0.02\n"
        "Change it back, or go on all the same, to other figures, with "
        f"`sslkit resume {run.path} --allow recipe`."
    )
    assert run.status.state == "interrupted"
    with pytest.raises(RunError, match=r"recipe: train.epochs was 1, is 2"):
        resume(run, allow=["data"])
    resume(run, allow=["recipe"])
    assert (run.status.state, run.status.step) == ("finished", 4)


def test_changed_options_of_the_optimizer_reach_every_parameter(run: Run) -> None:
    before = load_checkpoint(run.last_checkpoint)["optimizer_states"][0]["param_groups"]
    optimizer = ["weight_decay=0.25", "lr=0.02", "betas=[0.8, 0.95]", 'schedule="constant"']
    settings = [f"optimizer.{setting}" for setting in optimizer]
    run.recipe.write_text(load_recipe(run.recipe, [*settings, "train.epochs=2"]).to_toml())
    resume(run, allow=["recipe"])
    groups = load_checkpoint(run.last_checkpoint)["optimizer_states"][0]["param_groups"]
    assert [(group["name"], group["weight_decay"], tuple(group["betas"]), group["initial_lr"]) for group in groups] == [
        ("weights", 0.25, (0.8, 0.95), 0.02),
        ("bias-and-norm", 0.0, (0.8, 0.95), 0.02),
    ]
    assert [group["params"] for group in groups] == [group["params"] for group in before]
    assert [row.value for row in read_history(run.metrics) if row.metric == "lr"] == [0.02, 0.02]


def test_another_network_or_optimizer_cannot_go_on_at_all(run: Run) -> None:
    text = run.recipe.read_text()
    start, end = text.index("[optimizer]"), text.index("[monitor]")
    others = {
        "network": text.replace("width = 4", "width = 6"),
        "optimizer": text[:start] + '[optimizer]\nuse = "sslkit:lars"\n' + text[end:],
    }
    for what, other in others.items():
        run.recipe.write_text(other)
        with pytest.raises(RunError, match=f"cannot go on with another {what} than it was begun with: train the"):
            resume(run, allow=["recipe"])


def changed_data(monkeypatch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    honest = Digits.load

    def load(self: Digits, split: str) -> Split:
        found = honest(self, split)
        assert found.labels is not None
        images = change(found.images.gather(torch.arange(len(found.images))))
        return Split(TensorStore(images), found.labels[: len(images)])

    monkeypatch.setattr(Digits, "load", load)


def one_inverted(images: torch.Tensor) -> torch.Tensor:
    images[1] = 255 - images[1]
    return images


def written(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run.provenance.read_text())
    return found


def forge(run: Run, **changed: Any) -> None:
    """Let its provenance tell of another past."""
    record = {name: value for name, value in (written(run) | changed).items() if value is not None}
    run.provenance.write_text(json.dumps(record))


DIFFERENT = r"sha256 was \"[0-9a-f]{16}\", is \"[0-9a-f]{16}\"\n"


def test_other_data_are_refused_unless_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        changed_data(patch, one_inverted)
        with pytest.raises(RunError, match=r"  data: images_" + DIFFERENT):
            resume(run)
    changed_data(monkeypatch, lambda images: images[:1400])
    with pytest.raises(RunError, match=r"  data: training_images was 1438, is 1400\n"):
        resume(run)
    resume(run, allow=["data"])
    assert run.status.state == "finished"


def test_what_was_allowed_is_recorded_and_allowed_once(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    run = train(load_recipe(tiny, [*SMALL, "train.epochs=2"]), tmp_path / "runs", stop_at([1]))
    before = written(run)
    assert "resumed" not in before
    with monkeypatch.context() as patch:
        changed_data(patch, one_inverted)
        resume(run, stop_at([2]), allow=["data"])
        between = written(run)
        (event,) = between["resumed"]
        assert event["step"] == 1
        was, now = before["images_sha256"], between["images_sha256"]
        assert event["changed"] == [f'data: images_sha256 was "{was}", is "{now}"']
        assert now != was
        resume(run, stop_at([3]))
        assert written(run) == between, "nothing has changed since"
    with pytest.raises(RunError, match=r"  data: images_" + DIFFERENT):
        resume(run)
    resume(run, allow=["data"])
    assert [event["step"] for event in written(run)["resumed"]] == [1, 3]
    # Of components, the resolved recipe has other places: lists where it was written with tables.
    assert {name: value for name, value in written(run).items() if name not in ("resumed", "components")} == {
        name: value for name, value in before.items() if name != "components"
    }


def test_another_precision_is_refused_unless_asked_for_or_taken_back(run: Run) -> None:
    here = written(run)["hardware"]["precision"]
    there = {"float32": "bfloat16", "bfloat16": "float32"}[here]
    forge(run, hardware=written(run)["hardware"] | {"precision": there})
    with pytest.raises(RunError) as error:
        resume(run)
    assert str(error.value) == (
        f"{run.name} cannot go on, something has changed since it was stopped:\n"
        f'  precision: it was "{there}", is "{here}"; train.precision = "{there}" in {run.recipe} changes it back\n'
        "Change it back, or go on all the same, to other figures, with "
        f"`sslkit resume {run.path} --allow precision`."
    )
    edit(run, 'precision = "auto"', f'precision = "{there}"')
    other = Run(shutil.copytree(run.path, run.path.with_name("other"), symlinks=True))
    resume(run)
    assert (run.status.state, written(run)["hardware"]["precision"]) == ("finished", there)
    edit(other, f'precision = "{there}"', f'precision = "{here}"')
    resume(other, allow=["precision"])
    (event,) = written(other)["resumed"]
    assert event["changed"][0].startswith(f'precision: it was "{there}", is "{here}"')
    assert written(other)["hardware"]["precision"] == here


def test_other_versions_and_hardware_are_told_and_recorded(run: Run) -> None:
    record = written(run)
    now = record["versions"]["torch"]
    record["versions"]["torch"] = "2.0"
    record["components"]["loss"]["version"] = record["components"]["head"]["version"] = "0.0.9"
    record["hardware"] |= {"threads": 64, "name": "Z80"}
    forge(run, **record)
    reporter = Notes()
    resume(run, reporter)
    again = written(run)
    name = again["hardware"]["name"]
    changed = [
        'sslkit-selfcls was "0.0.9", is "0.1.0"',
        f'torch was "2.0", is "{now}"',
        f'hardware.name was "Z80", is "{name}"',
        f"hardware.threads was 64, is {torch.get_num_threads()}",
    ]
    assert [line for line in reporter.notes if "was" in line] == [
        f"warning: {line}: its bits may differ" for line in changed
    ]
    assert again["resumed"][0]["changed"] == changed
    assert again["versions"]["torch"] == now
