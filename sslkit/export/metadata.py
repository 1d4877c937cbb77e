"""Metadata of an exported file."""

from __future__ import annotations

from typing import Any

from sslkit.evaluation.corrected_classes import find_leaders
from sslkit.runs.class_names import read_class_names
from sslkit.runs.correction_history import read_untrained_corrections
from sslkit.runs.provenance_file import read_provenance, trained_with_corrections
from sslkit.runs.run import Run
from sslkit.trained.network import TrainedNetwork


def export_metadata(run: Run, network: TrainedNetwork) -> dict[str, Any]:
    """Return the metadata of a run's network as JSON values.

    Returns:
        A dictionary with these keys:

        - ``run``: name of the run
        - ``input``: ``channels``, ``size`` in pixels, ``mean`` and ``std`` of each channel for values in [0, 1], and
          ``interpolation``
        - ``backbone``: component and options
        - ``resolved``: text about layers that depend on the data, such as the stem
        - ``feature_dim``: length of a feature
        - ``classes``, if there is a classifier: ``count``, ``names`` (null if no class has a name), ``head``,
          ``classifier`` (index in the head), ``temperature`` (probabilities are softmax(logits / temperature)),
          ``merged`` (the class number of each of the ``count`` classes after classes with the same name are merged),
          ``corrected_images`` (number of images that a user corrected in the run after its training; the network does
          not contain these corrections) and ``trained_with_corrections`` (number of corrected images that the head was
          trained with)
        - ``training``: ``components``, ``images``, ``image_shape``, ``steps``, ``seed`` and ``versions``
    """
    weights = network.metadata
    metadata: dict[str, Any] = {
        "run": run.name,
        "input": {
            "channels": weights["channels"],
            "size": weights["image_size"],
            "mean": weights["mean"],
            "std": weights["std"],
            "interpolation": weights["interpolation"],
        },
        "backbone": weights["backbone"],
        "resolved": network.backbone.extra_repr(),
        "feature_dim": weights["feature_dim"],
    }
    if network.classes:
        names = read_class_names(run, network.classes)
        leaders = find_leaders({number: name for number, name in enumerate(names or ()) if name})
        metadata["classes"] = {
            "count": network.classes,
            "names": names,
            "head": network.head_name,
            "classifier": network.classifier,
            "temperature": network.temperature,
            "merged": [leaders.get(number, number) for number in range(network.classes)],
            "corrected_images": len(read_untrained_corrections(run)),
            "trained_with_corrections": trained_with_corrections(run),
        }
    return metadata | {"training": _training(run, weights["step"])}


def _training(run: Run, steps: int) -> dict[str, Any]:
    provenance = read_provenance(run)
    return {
        "components": {
            path: f"{part['distribution']}:{part['name']} {part['version']}".rstrip()
            for path, part in provenance["components"].items()
        },
        "images": provenance["training_images"],
        "image_shape": provenance["image_shape"],
        "steps": steps,
        "seed": provenance["seed"],
        "versions": provenance["versions"],
    }
