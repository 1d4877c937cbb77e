"""Third-party evaluators: results with equal names, values that JSON cannot contain, and requirements on the data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from evaluation_subjects import squares

import sslkit
from sslkit.errors import DataError, IncompatibleComponentError
from sslkit.evaluation.build_evaluators import build_evaluators
from sslkit.evaluation.evaluate import evaluate
from sslkit.reporting.compare import compare
from sslkit.runs.run import Run

SOURCE = """
import numpy, torch, sslkit

class Depth(sslkit.Evaluator):
    '''Return fixed metrics.'''
    api = 2
    needs = frozenset({needs})
    class Options(sslkit.Options):
        score: float = {score}
        '''The score.'''
    def evaluate(self, subject):
        return sslkit.Evaluation({metrics}, {protocol}, {baselines})
"""

VALID = {
    "needs": "{'test'}",
    "score": "0.5",
    "metrics": "{'score': self.options.score, 'parts': 3}",
    "protocol": "{'split': 'test', 'images': 359}",
    "baselines": "{'mean': {'score': self.options.score / 2}, 'trained': {'score': 0.125}}",
}

Offer = Callable[..., None]


@pytest.fixture
def offer(install) -> Offer:
    """Return a function that installs a distribution with an evaluator."""

    def offer(distribution: str, name: str = "depth", **changes: str) -> None:
        source = SOURCE.format(**VALID | changes)
        module = f"evaluators_of_{distribution}"
        install(distribution, f"[sslkit.evaluators]\n{name} = {module}:Depth\n", **{module: source})

    return offer


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Run:
    """Return a copy of a finished run."""
    return Run(Path(shutil.copytree(finished_run, tmp_path / "run", symlinks=True)))


def test_metrics_and_baselines_are_shown_by_eval_compare_and_report(cli, offer: Offer, run: Run) -> None:
    offer("first-baselines")
    offer("second-baselines", name="pose", score="0.25")
    shown = cli("eval", run.path, "--use", "depth", "--use", "pose", COLUMNS="160")
    assert shown.returncode == 0, shown.stderr
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert ["depth", "score", "0.500", "0.250", "0.125"] in rows
    assert ["pose", "score", "0.250", "0.125", "0.125"] in rows
    assert ["depth", "parts", "3"] in rows

    (row,) = compare([run])["rows"]
    expected = {"score": 0.5, "parts": 3, "baseline mean score": 0.25, "baseline trained score": 0.125}
    assert row["metrics"] == {f"depth {name}": value for name, value in expected.items()} | {
        "pose score": 0.25,
        "pose parts": 3,
        "pose baseline mean score": 0.125,
        "pose baseline trained score": 0.125,
    }
    table = cli("compare", run.path, COLUMNS="160").stdout
    assert ["depth", "baseline", "mean", "score", "0.250"] in [line.split() for line in table.splitlines()]
    assert ["depth", "parts", "3"] in [line.split() for line in table.splitlines()]

    done = cli("report", run.path)
    assert done.returncode == 0, done.stderr
    page = (run.path / "report.html").read_text()
    for text in ("depth: 359 test images of digits", "mean", "baseline trained", "0.125"):
        assert text in page


def test_evaluators_of_one_name_in_one_call_have_qualified_results(cli, offer: Offer, run: Run) -> None:
    offer("a-names", name="cluster")
    offer("b-names", name="cluster", score="0.25")
    arguments = ("--use", "a-names:cluster", "--use", "b-names:cluster", "--cluster")
    settings = ("--set", "b-names:cluster.score=0.75", "--set", "sslkit:cluster.kmeans_restarts=1")
    done = cli("eval", run.path, *arguments, *settings, "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["evaluators"]
    assert list(results) == ["sslkit:cluster", "a-names:cluster", "b-names:cluster"]
    assert [results[name]["metrics"]["score"] for name in ("a-names:cluster", "b-names:cluster")] == [0.5, 0.75]
    assert results["sslkit:cluster"]["protocol"]["kmeans"]["restarts"] == 1
    metrics = compare([run])["rows"][0]["metrics"]
    assert (metrics["a-names:cluster score"], metrics["b-names:cluster score"]) == (0.5, 0.75)
    assert metrics["cluster acc"] == results["sslkit:cluster"]["metrics"]["acc"], "as in runs without these packages"

    unclear = cli("eval", run.path, *arguments, "--set", "cluster.score=1", COLUMNS="300")
    assert unclear.returncode == 2
    assert "(write 'sslkit:cluster' or 'a-names:cluster' or 'b-names:cluster')" in unclear.stderr


def test_evaluators_of_one_name_in_several_calls_have_qualified_results(offer: Offer, run: Run) -> None:
    offer("c-names", name="cluster")
    assert list(build_evaluators({"sslkit:cluster": {}})) == ["cluster"]
    assert list(build_evaluators({"c-names:cluster": {}})) == ["c-names:cluster"]
    run_api = sslkit.find_run(run.path)
    run_api.evaluate({"sslkit:cluster": {"kmeans_restarts": 1}})
    run_api.evaluate("c-names:cluster")
    metrics = compare([run])["rows"][0]["metrics"]
    assert {"cluster acc", "c-names:cluster score"} <= metrics.keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": "{'top1': numpy.float32(0.5)}"}, "metrics['top1'] is of type numpy.float32, which JSON cannot"),
        ({"metrics": "{'top1': torch.tensor(0.5)}"}, "metrics['top1'] is of type torch.Tensor, which JSON cannot"),
        ({"metrics": "{'few': {'top1': float('nan')}}"}, "metrics['few']['top1'] is nan: it must be a finite number"),
        ({"metrics": "{'sizes': [1, numpy.int64(2)]}"}, "metrics['sizes'][1] is of type numpy.int64"),
        ({"metrics": "{'by_class': {7: 0.5}}"}, "metrics['by_class'] has the key 7 of type int: keys must be strings"),
        ({"metrics": "{'fractions': {'few': {'top1': 0.5}}}"}, "metrics.fractions.few"),
        ({"metrics": "[0.5]"}, "metrics must be a mapping from names to values, not of type list"),
        ({"protocol": "{'split': 'test', 'lr': float('inf')}"}, "protocol['lr'] is inf: it must be a finite number"),
        ({"baselines": "{'mean': {'top1': numpy.float32(1)}}"}, "baselines['mean']['top1'] is of type numpy.float32"),
        ({"baselines": "{'random_weights': {'top1': 0.5}}"}, "baselines['random_weights'] is reserved"),
        ({"baselines": "{'pretrained_weights': {'top1': 0.5}}"}, "baselines['pretrained_weights'] is reserved"),
    ],
    ids=lambda value: value.partition(":")[0] if isinstance(value, str) else "",
)
def test_a_result_that_cannot_be_saved_names_evaluator_and_key(
    offer: Offer, run: Run, changes: dict[str, str], message: str, request: pytest.FixtureRequest
) -> None:
    distribution = f"json{abs(hash(request.node.name))}"
    offer(distribution, name="odd", **changes)
    evaluators = build_evaluators({"knn": {}, "odd": {}})
    with pytest.raises(IncompatibleComponentError) as error:
        evaluate(run, evaluators)
    assert f"the evaluator 'odd' returned a result that cannot be saved: {message}" in str(error.value)
    (saved,) = run.evaluations.glob("*.json")
    assert list(json.loads(saved.read_text())["evaluators"]) == ["knn"], "earlier results are saved"


def test_numpys_float64_and_diverged_curves_are_saved(offer: Offer, run: Run) -> None:
    offer("float64", name="wide", metrics="{'top1': numpy.float64(0.5), 'curves': [{'train_loss': float('nan')}]}")
    result = evaluate(run, build_evaluators({"wide": {}}))
    assert type(result.evaluators["wide"].metrics["top1"]) is float
    (saved,) = run.evaluations.glob("*.json")
    assert json.loads(saved.read_text())["evaluators"]["wide"]["metrics"]["curves"] == [{"train_loss": None}]


def test_labels_are_required_before_an_evaluator_runs_also_without_a_test_split(offer: Offer, run: Run) -> None:
    offer("needs-labels", name="labelled", needs="{'labels'}", metrics="1 / 0")
    evaluators = build_evaluators({"labelled": {}})
    for splits in (("train",), ("train", "validation"), ("train", "test")):
        with pytest.raises(
            DataError, match=r"the labelled evaluation needs labels, but the train.* images of 'squares'"
        ):
            evaluate(run, evaluators, other=("squares", squares(splits, ())))
    for labelled in ("train", "validation"):
        with pytest.raises(ZeroDivisionError):
            evaluate(run, evaluators, other=("squares", squares(("train", "validation"), (labelled,))))
