"""The Python interface, and components that ``sslkit.register`` adds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import sslkit
from sslkit.components.catalog import Catalog, registered_components


@pytest.fixture(autouse=True)
def unregister_components() -> Iterator[None]:
    yield
    registered_components.clear()


class MarginLoss(sslkit.Loss):
    """Loss that makes views of an image similar, with a standard deviation of at least ``margin`` in each dimension."""

    api = 2
    needs = frozenset({"embeddings"})

    class Options(sslkit.Options):
        margin: float = 1.0
        """Minimum standard deviation."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.margin = options.margin

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        first, second = views.student.embeddings
        hinge = (self.margin - first.std(0)).relu().mean()
        return sslkit.LossOutput((first - second).square().mean() + hinge, {"hinge": hinge})


def test_train_evaluate_and_find(tiny: Path, tmp_path: Path) -> None:
    run = sslkit.train(tiny, settings=["train.epochs=1"], runs=tmp_path / "runs")
    assert run.status.state == "finished"
    assert {row.metric for row in run.read_metrics()} >= {"loss", "lr", "epoch_loss"}
    found = run.evaluate({"cluster": {}, "knn": {}}, baselines=["random"])
    assert 0 < found.evaluators["knn"].metrics["top1"] <= 1
    assert "random_weights" in found.evaluators["knn"].baselines
    assert json.loads(next(run.evaluations.iterdir()).read_text()) == found.to_json()
    assert run.load_backbone().channels == 1
    assert run.label({3: "cat"}) == ("", "", "", "cat", *[""] * 6)
    assert "Class 3: <bdi>cat</bdi>" in run.report(out=str(tmp_path / "page.html")).read_text()
    assert sslkit.find_run(runs=tmp_path / "runs").path == run.path == sslkit.find_run(run.path).path
    again = sslkit.train(tiny, settings=["train.epochs=1"], runs=tmp_path / "runs", continue_from=run.path)
    assert json.loads(again.provenance.read_text())["continued_from"]["run"] == run.name
    with pytest.raises(sslkit.RunError, match="is finished: there is nothing to resume"):
        sslkit.resume(run.path)


def test_data_settings_without_data_are_refused(finished_run: Path) -> None:
    with pytest.raises(
        sslkit.InputError, match="data_settings are options of a different data set: name it with data="
    ):
        sslkit.Run(finished_run).evaluate(data_settings=["data.size=9"])


def test_registered_loss_trains_and_is_recorded_as_such(tiny: Path, tmp_path: Path) -> None:
    sslkit.register("margin", MarginLoss)
    run = sslkit.train(tiny, settings=["train.epochs=1", "loss={use='margin', margin=0.5}"], runs=tmp_path)
    assert {row.metric for row in run.read_metrics()} >= {"margin/hinge"}
    assert '{ use = "this-process:margin", margin = 0.5 }' in run.recipe.read_text()
    recorded = json.loads(run.provenance.read_text())["components"]["loss"]
    assert recorded == {"kind": "loss", "name": "margin", "distribution": "this-process", "version": ""}
    registered_components.clear()
    gone = "the loss 'margin' of this-process, which the run was trained with, is not registered here"
    assert run.evaluate("knn").notes == [gone]
    with pytest.raises(sslkit.RecipeError, match=r"another process; register it here too: sslkit\.register\('margin'"):
        sslkit.train(run.recipe, runs=tmp_path)


def test_registering_a_name_again_replaces_it_and_other_classes_are_refused() -> None:
    class Changed(MarginLoss):
        """A later version of the loss, as in a notebook cell that is run again."""

    sslkit.register("margin", MarginLoss)
    sslkit.register("margin", Changed)
    (entry,) = (entry for entry in Catalog.scan().entries if entry.name == "margin")
    assert entry.target.endswith("Changed")
    with pytest.raises(sslkit.InputError, match=r"is not a component: subclass one of sslkit\.Dataset, sslkit\.Views"):
        sslkit.register("thing", dict)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(sslkit.InputError, match="cannot be called 'a:b'"):
        sslkit.register("a:b", MarginLoss)
