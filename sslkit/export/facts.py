"""What somebody who has the exported file alone must know of it."""

from __future__ import annotations

from typing import Any

from sslkit.runs.class_names import read_class_names
from sslkit.runs.records import read_provenance
from sslkit.runs.run import Run
from sslkit.trained.network import TrainedNetwork


def facts(run: Run, network: TrainedNetwork) -> dict[str, Any]:
    """Normalisation, layers, classes and training of a run's network, as JSON can hold them.

    Returns:
        ``run``; ``input``: ``channels``, ``size`` in pixels, ``mean`` and ``std`` per channel of values in 0..1;
        ``backbone``: its component and options, ``settled`` what else its layers depend on, and ``feature_dim``;
        ``classes``, where there is a classifier: ``count``, ``names`` (those that somebody gave, else null), ``head``,
        ``classifier`` (its place), ``temperature`` (probabilities are softmax(logits / temperature));
        ``training``: components, images, steps, versions.
    """
    metadata = network.metadata
    found: dict[str, Any] = {
        "run": run.name,
        "input": {
            "channels": metadata["channels"],
            "size": metadata["image_size"],
            "mean": metadata["mean"],
            "std": metadata["std"],
        },
        "backbone": metadata["backbone"],
        "settled": network.backbone.extra_repr(),
        "feature_dim": metadata["feature_dim"],
    }
    if network.classes:
        found["classes"] = {
            "count": network.classes,
            "names": read_class_names(run, network.classes),
            "head": network.head_name,
            "classifier": network.classifier,
            "temperature": network.temperature,
        }
    return found | {"training": _training(run, metadata["step"])}


def _training(run: Run, steps: int) -> dict[str, Any]:
    record = read_provenance(run)
    return {
        "components": {
            path: f"{part['distribution']}:{part['name']} {part['version']}".rstrip()
            for path, part in record["components"].items()
        },
        "images": record["training_images"],
        "image_shape": record["image_shape"],
        "steps": steps,
        "seed": record["seed"],
        "versions": record["versions"],
    }
