"""Compare discovered classes with k-means on the same features, for the report of a run that was not evaluated."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize

from sslkit.evaluation.clustering_metrics import cluster_scores
from sslkit.features.kmeans import fit_centres, nearest_centre
from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.runs.evaluation_result import BaselineResult, EvaluatorResult

RESTARTS = 3
"""Number of restarts of k-means; ``sslkit eval`` uses more."""

MAX_IMAGES = 4096
"""Largest number of images that k-means is fitted to."""


def compare_with_kmeans(encoded: EncodedSplit, typical: Tensor | None) -> EvaluatorResult | None:
    """Compare the discovered classes with k-means on the same features.

    Args:
        encoded: the images.
        typical: features ``[M, D]`` of training images to fit k-means to; None fits k-means to the images themselves.

    Returns:
        With labels, ``acc`` and ``nmi`` of the discovered classes, and of k-means as a baseline. Without labels,
        ``agreement``: the share of images that k-means and the run put into the same class, after clusters are
        matched one to one with classes. None without discovered classes, or if k-means has fewer images than clusters.
    """
    discovered, labels = encoded.discovered, encoded.split.labels
    if discovered is None:
        return None
    clusters = discovered.count if labels is None else len(encoded.class_names)
    features = normalize(encoded.features, dim=1)
    fitted = features[encoded.sample(MAX_IMAGES)] if typical is None else normalize(typical, dim=1)
    if len(fitted) < clusters:
        return None
    assigned = nearest_centre(features, fit_centres(fitted, clusters, encoded.seed, RESTARTS)).cpu()
    protocol = {
        "split": encoded.name,
        "images": len(features),
        "kmeans": {
            "fit_images": len(fitted),
            "fit_on": encoded.name if typical is None else "train",
            "restarts": RESTARTS,
            "seed": encoded.seed,
        },
    }
    if labels is None:
        agreement = cluster_scores(assigned, discovered.assigned, clusters, clusters)["acc"]
        return EvaluatorResult({"agreement": agreement}, protocol)
    own = cluster_scores(discovered.assigned, labels, discovered.count, clusters)
    other = cluster_scores(assigned, labels, clusters, clusters)
    metrics = [{name: scores[name] for name in ("acc", "nmi")} for scores in (own, other)]
    return EvaluatorResult(metrics[0], protocol, {"kmeans_features": BaselineResult(metrics[1])})
