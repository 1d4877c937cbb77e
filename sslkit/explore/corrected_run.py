"""Write the folder of a run whose head was trained with corrections."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from sslkit.contracts.head import Head
from sslkit.files import to_json, write_atomic
from sslkit.recipe.recipe import Recipe
from sslkit.runs.class_names import write_class_names
from sslkit.runs.metrics_file import HEADER
from sslkit.runs.run import Run
from sslkit.runs.weights import copy_weights, read_metadata, save_weights


def write_corrected_run(
    run: Run, runs: Path, recipe: Recipe, head: Head, names: Sequence[str], corrections: int
) -> Run:
    """Write a new run: the backbone of ``run``, and a head that was trained with corrections.

    Args:
        run: the corrected run.
        runs: folder of all runs.
        recipe: recipe of the new run.
        head: the new head.
        names: name of each class of the head; empty for a class without a name.
        corrections: number of images that the user corrected.

    Raises:
        RunError: the run folder cannot be created, or the files of ``run`` are damaged.
    """
    backbone, heads = read_metadata(run.backbone), read_metadata(run.heads)
    record = json.loads(run.provenance.read_text()) | {
        "command": sys.argv,
        "corrected_from": {"run": run.name, "images": corrections},
    }
    new, old = Run.create(runs, run.path.parent.name), run.status
    write_atomic(new.recipe, recipe.to_toml())
    write_atomic(new.provenance, to_json(record))
    write_atomic(new.metrics, HEADER)
    write_class_names(new, names)
    if run.typical_images.exists():
        write_atomic(new.typical_images, run.typical_images.read_bytes())
    copy_weights(run.backbone, new.backbone, backbone | {"run": new.name})
    metadata = heads | {"run": new.name, "classifier": 0, "classifiers": [len(names)]}
    save_weights(nn.ModuleList([head]), new.heads, metadata)
    new.write_status("finished", old.steps, old.steps, old.epochs, old.epochs)
    return new
