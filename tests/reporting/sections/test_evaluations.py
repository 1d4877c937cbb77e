from __future__ import annotations

from evaluation_results import evaluation_result

from sslkit.reporting.sections.evaluations import headline_metrics


def test_headlines_show_k_means_on_pixels() -> None:
    baselines = {"kmeans_pixels": {"metrics": {"acc": 0.25}}, "kmeans_features": {"metrics": {"acc": 0.125}}}
    result = evaluation_result(cluster={"metrics": {"acc": 0.5}, "baselines": baselines}).evaluators["cluster"]
    (headline,) = headline_metrics({"cluster": ("cluster", result)})
    assert headline["value"] == "0.500"
    assert headline["baseline"] == "k-means on pixels: 0.250"
