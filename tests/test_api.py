"""What the command line does, from Python; and components without a package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import sslkit
from sslkit.components.catalog import Catalog, local_entries


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    yield
    local_entries.clear()


class Spread(sslkit.Loss):
    """Views agree, images differ."""

    api = 1
    needs = frozenset({"embeddings"})

    class Options(sslkit.Options):
        margin: float = 1.0
        """How far apart images are to be."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.margin = options.margin

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        first, second = views.student.embeddings
        apart = (self.margin - first.std(0)).relu().mean()
        return sslkit.LossOutput((first - second).square().mean() + apart, {"apart": apart})


def test_train_evaluate_and_find(tiny: Path, tmp_path: Path) -> None:
    run = sslkit.train(tiny, settings=["train.epochs=1"], runs=tmp_path / "runs")
    assert run.status.state == "finished"
    assert {row.metric for row in run.history()} >= {"loss", "lr", "epoch_loss"}
    found = run.evaluate({"cluster": {}, "knn": {}}, random_baseline=True)
    assert 0 < found["knn"]["top1"] <= 1
    assert "knn_random_weights" in found["baselines"]
    assert json.loads(next(run.evaluations.iterdir()).read_text())["knn"] == found["knn"]
    assert run.load_backbone().channels == 1
    assert run.label({3: "cat"}) == ("", "", "", "cat", *[""] * 6)
    assert "Class 3: <bdi>cat</bdi>" in run.report(out=str(tmp_path / "page.html")).read_text()
    assert sslkit.find_run(runs=tmp_path / "runs").path == run.path == sslkit.find_run(run.path).path
    again = sslkit.train(tiny, settings=["train.epochs=1"], runs=tmp_path / "runs", continue_from=run.path)
    assert json.loads(again.provenance.read_text())["continued_from"]["run"] == run.name
    with pytest.raises(sslkit.RunError, match="is finished: there is nothing to resume"):
        sslkit.resume(run.path)


def test_settings_of_no_data_set_are_refused(finished_run: Path) -> None:
    with pytest.raises(sslkit.InputError, match="data_settings are of another data set than the run's, which data"):
        sslkit.Run(finished_run).evaluate(data_settings=["data.size=9"])


def test_a_registered_loss_trains_and_is_shown_as_such(tiny: Path, tmp_path: Path) -> None:
    sslkit.register("spread", Spread)
    run = sslkit.train(tiny, settings=["train.epochs=1", "loss={use='spread', margin=0.5}"], runs=tmp_path)
    assert {row.metric for row in run.history()} >= {"spread/apart"}
    assert '{ use = "this-process:spread", margin = 0.5 }' in run.recipe.read_text()
    recorded = json.loads(run.provenance.read_text())["components"]["loss"]
    assert recorded == {"kind": "loss", "name": "spread", "distribution": "this-process", "version": ""}
    local_entries.clear()
    gone = "the loss 'spread' of this-process, which the run was trained with, is not registered here"
    assert run.evaluate("knn")["notes"] == [gone]
    with pytest.raises(sslkit.RecipeError, match=r"another process; register it here too: sslkit\.register\('spread'"):
        sslkit.train(run.recipe, runs=tmp_path)


def test_registering_again_replaces_and_other_things_are_refused() -> None:
    class Other(Spread):
        """The same, changed in the next cell."""

    sslkit.register("spread", Spread)
    sslkit.register("spread", Other)
    (entry,) = (entry for entry in Catalog.scan().entries if entry.name == "spread")
    assert entry.target.endswith("Other")
    with pytest.raises(sslkit.InputError, match=r"is no component: subclass one of sslkit\.Dataset, sslkit\.Views"):
        sslkit.register("thing", dict)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(sslkit.InputError, match="cannot be called 'a:b'"):
        sslkit.register("a:b", Spread)
