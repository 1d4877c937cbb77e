from __future__ import annotations

from evaluation_results import evaluation_result

from sslkit.reporting.sections.evaluations import headline_metrics


def test_headlines_show_both_k_means_baselines_and_corrections_next_to_the_metric() -> None:
    baselines = {"kmeans_pixels": {"metrics": {"acc": 0.25}}, "kmeans_features": {"metrics": {"acc": 0.125}}}
    metrics = {"acc": 0.5, "corrected": {"acc": 0.75}}
    result = evaluation_result(cluster={"metrics": metrics, "baselines": baselines}).evaluators["cluster"]
    (headline,) = headline_metrics({"cluster": ("cluster", result)})
    assert headline["value"] == "0.500"
    assert headline["lines"] == [
        "0.750 with corrections",
        "0.125 k-means on the same features",
        "0.250 k-means on pixels",
    ]
