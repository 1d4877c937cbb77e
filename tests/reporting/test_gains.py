from __future__ import annotations

from pathlib import Path

from evaluation_results import create_evaluated_run, evaluation_json, evaluation_result

from sslkit.reporting.compare import compare
from sslkit.reporting.gains import gain, gain_sentences
from sslkit.reporting.sections.evaluations import headline_metrics

START = {"metrics": {"acc": 0.5, "nmi": 0.75, "classes_used": 3, "fractions": {"0.1": {"acc": 0.25}}}}
CLUSTER = {
    "metrics": {"acc": 0.625, "nmi": 0.5, "ari": 0.5, "classes_used": 4, "fractions": {"0.1": {"acc": 0.25}}},
    "baselines": {"pretrained_weights": START, "kmeans_pixels": {"metrics": {"acc": 0.125}}},
}
SENTENCES = [
    "cluster acc: 0.625, 0.125 better than at the start",
    "cluster nmi: 0.500, 0.250 worse than at the start",
    "cluster 10 % acc: 0.250, the same as at the start",
]


def test_gains_have_a_sign_and_compare_the_same_labels() -> None:
    results = evaluation_result(cluster=CLUSTER, knn={"metrics": {"top1": 0.5}}).evaluators
    assert gain_sentences(results) == SENTENCES
    assert gain(results["cluster"], "nmi") == -0.25
    assert gain(results["cluster"], "ari") is None
    assert gain(results["knn"], "top1") is None


def test_compare_and_headlines_show_gains(tiny: Path, tmp_path: Path) -> None:
    first = create_evaluated_run(tiny, tmp_path, "a", evaluation_json(cluster=CLUSTER))
    older = create_evaluated_run(
        tiny, tmp_path, "b", evaluation_json(cluster=CLUSTER), evaluation_json(cluster={"metrics": {"acc": 0.75}})
    )
    result = compare([first, older])
    assert result["gains"] == [f"{first.name}: {line}" for line in SENTENCES]
    assert result["rows"][0]["metrics"]["cluster baseline pretrained weights acc"] == 0.5
    latest = {"cluster": ("cluster", evaluation_result(cluster=CLUSTER).evaluators["cluster"])}
    acc, nmi = headline_metrics(latest)
    assert acc["lines"] == ["0.125 k-means on pixels", "+0.125 since the start"]
    assert nmi["lines"] == ["-0.250 since the start"]
