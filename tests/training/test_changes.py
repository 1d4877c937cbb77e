"""A run goes on with the recipe and the data that it was begun with, or says what has changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sslkit.contracts.dataset import Split
from sslkit.data.datasets.digits import Digits
from sslkit.data.splits import Subset
from sslkit.data.store import TensorStore
from sslkit.errors import RunError
from sslkit.recipe.check import load_recipe
from sslkit.reporting.history import read_history
from sslkit.runs import Run
from sslkit.training.checkpoints import load_checkpoint
from sslkit.training.reporter import Reporter
from sslkit.training.train import resume, train


@pytest.fixture
def run(tiny: Path, tmp_path: Path, stop_at) -> Run:
    settings = ["backbone.width=4", "train.batch_size=700", "monitor.every_epochs=0", "train.epochs=1"]
    return train(load_recipe(tiny, settings), tmp_path / "runs", stop_at([1]))


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
    assert [row.value for row in read_history(run.metrics) if row.metric == "lr"] == [0.02]


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


def test_other_data_are_refused_unless_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Digits.load

    def inverted(self: Digits, split: str) -> Split:
        found = honest(self, split)
        return Split(TensorStore(255 - found.images.gather(torch.arange(len(found.images)))), found.labels)

    def fewer(self: Digits, split: str) -> Split:
        found = honest(self, split)
        assert found.labels is not None
        return Split(Subset(found.images, torch.arange(1400)), found.labels[:1400])

    monkeypatch.setattr(Digits, "load", inverted)
    with pytest.raises(RunError, match=r"  data: pixels_sha256 was \"[0-9a-f]{16}\", is \"[0-9a-f]{16}\"\n"):
        resume(run)
    monkeypatch.setattr(Digits, "load", fewer)
    with pytest.raises(RunError, match=r"  data: training_images was 1438, is 1400\n"):
        resume(run)
    resume(run, allow=["data"])
    assert run.status.state == "finished"


def test_other_versions_of_the_libraries_are_told(run: Run) -> None:
    class Notes(Reporter):
        def note(self, text: str) -> None:
            told.append(text)

    told: list[str] = []
    record = json.loads(run.provenance.read_text())
    now = record["versions"]["torch"]
    record["versions"]["torch"] = "2.0"
    run.provenance.write_text(json.dumps(record))
    resume(run, Notes())
    assert f'warning: torch was "2.0", is "{now}": its bits may differ' in told
