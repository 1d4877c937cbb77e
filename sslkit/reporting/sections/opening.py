"""The first lines of a report: the verdict, and the most important metrics with their baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.sections.evaluations import headline_metrics
from sslkit.reporting.sections.kmeans_comparison import compare_with_kmeans
from sslkit.reporting.sections.verdict import verdict
from sslkit.runs.evaluation_result import EvaluatorResult
from sslkit.runs.run import Run


def opening(
    run: Run, latest: Mapping[str, tuple[str, EvaluatorResult]], encoded: EncodedSplit | None, typical: Tensor | None
) -> dict[str, Any]:
    """Return the template variables ``verdict`` (sentences) and ``headlines``.

    If the run has not been evaluated with ``cluster``, compare its classes with k-means on the same features.

    Args:
        run: the run.
        latest: latest result of each evaluator, from ``latest_results``.
        encoded: the images of the report, or None if they cannot be shown.
        typical: features ``[M, D]`` of training images, to fit k-means to.
    """
    results, measured = dict(latest), None
    if "cluster" not in latest and encoded is not None:
        measured = compare_with_kmeans(encoded, typical)
    if measured is not None and "acc" in measured.metrics:
        results = {"cluster": ("cluster", measured)} | results
    sentences, headlines = verdict(results, encoded), headline_metrics(results)
    if measured is not None and "agreement" in measured.metrics:
        agreement = measured.metrics["agreement"]
        sentences = [
            "There are no labels, so no metric can show whether these are the classes that you want.",
            f"k-means on the same features puts {100 * agreement:.0f} % of the images into the same classes.",
            *sentences,
        ]
        label = "agreement with k-means on the same features"
        headlines = [{"label": label, "value": f"{agreement:.3f}", "lines": []}, *headlines]
    elif measured is not None:
        split = "training" if measured.protocol["kmeans"]["fit_on"] == "train" else "test"
        sentences.append(
            f"The run has not been evaluated, so this report measured its classes on {measured.protocol['images']} "
            f"{measured.protocol['split']} images, with k-means fitted to {measured.protocol['kmeans']['fit_images']} "
            f"{split} images. For more baselines, run `sslkit eval {run.path} --cluster`."
        )
    elif not sentences:
        sentences = [_without_comparison(run, encoded, bool(latest))]
    if measured is None and encoded is not None and _corrected_since(latest, encoded):
        sentences.append(
            "The corrections have changed since the evaluation. To measure the classes with them, run "
            f"`sslkit eval {run.path} --cluster`."
        )
    return {"verdict": sentences, "headlines": headlines}


def _corrected_since(latest: Mapping[str, tuple[str, EvaluatorResult]], encoded: EncodedSplit) -> bool:
    """Return whether the number of corrected images has changed since the latest evaluation of the classes."""
    if "cluster" not in latest or encoded.corrections is None:
        return False
    corrections = latest["cluster"][1].protocol.get("corrections")
    return encoded.corrections.images != (corrections.get("images", 0) if isinstance(corrections, Mapping) else 0)


def _without_comparison(run: Run, encoded: EncodedSplit | None, evaluated: bool) -> str:
    if encoded is None:
        return "The run cannot be judged yet: its network or its images are missing."
    if evaluated:
        return "The run has been evaluated without a baseline, so it is unknown whether training helped."
    return f"The run has not been evaluated. To evaluate it, run `sslkit eval {run.path} --linear --knn`."
