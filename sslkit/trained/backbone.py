"""Load the trained backbone of a run, for use in other programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from sslkit.components.catalog import Catalog
from sslkit.components.importer import load_component
from sslkit.components.kinds import find_kind
from sslkit.contracts.backbone import Backbone
from sslkit.contracts.preprocessing import Preprocessing
from sslkit.device.out_of_memory import first_line
from sslkit.errors import RunError, SslkitError
from sslkit.runs.find import find_finished_run, runs_folder
from sslkit.runs.weights import count_values, load_weights
from sslkit.runs.weights_metadata import context_from_metadata, preprocessing_from_metadata, read_backbone_metadata


@dataclass(frozen=True)
class TrainedBackbone:
    """A trained backbone and the preprocessing of its images.

    Attributes:
        backbone: the backbone, in eval mode, on the CPU.
        preprocessing: size, mean, standard deviation and interpolation.
        channels: number of channels of the images.
    """

    backbone: Backbone
    preprocessing: Preprocessing
    channels: int


def load_backbone(run: str | Path | None = None, runs: str | Path | None = None) -> TrainedBackbone:
    """Return the backbone of a finished run, or of a file written by ``sslkit export --to safetensors``.

    Args:
        run: a run folder, ``NAME/ID``, ``NAME``, ``ID``, an exported file, or None for the newest finished run.
        runs: the folder of all runs, or None for the default folder of the command line.

    Raises:
        RunError: the run does not exist, has not finished, or its files are damaged.
        ComponentError: the backbone's distribution is not installed, or cannot be imported.
    """
    if run is not None and Path(run).is_file():
        weights = Path(run)
    else:
        root = runs_folder(Path(runs) if runs is not None else None)
        weights = find_finished_run(str(run) if run is not None else None, root)[0].backbone
    metadata = read_backbone_metadata(weights)
    context = context_from_metadata(metadata["context"], restoring=True)
    kind = find_kind("backbone")
    table = {key: value for key, value in metadata["backbone"].items() if key not in kind.reserved}
    use = str(table.pop("use", ""))
    entry = Catalog.scan().find(kind, use)
    component: Any = load_component(entry)
    try:
        options = component.Options.model_validate_json(json.dumps(table))
    except ValidationError as error:
        raise RunError(f"{metadata['run']} was trained with options that {entry} no longer has: {error}") from error
    backbone = _build(lambda: component(options, context), str(entry), weights)
    load_weights(backbone, weights)
    return TrainedBackbone(backbone.eval(), preprocessing_from_metadata(metadata), context.channels)


def _build(build: Callable[[], Any], component: str, weights: Path) -> Backbone:
    """Build the backbone that the metadata of a weights file describes.

    The backbone's size is compared with that in the file before memory is allocated: a damaged or untrusted file may
    describe a backbone that takes terabytes.

    Args:
        build: function that builds the backbone.
        component: name of the backbone, for messages.
        weights: the weights file.

    Raises:
        RunError: the backbone has more values than the file, or cannot be built.
    """
    try:
        with torch.device("meta"):
            needed = sum(value.numel() for value in build().state_dict().values())
    except Exception:
        needed = 0  # not every network can be built on the meta device
    saved = count_values(weights)
    if needed > saved:
        raise RunError(
            f"the weights {weights} cannot be used: {component} with the options in the file has {needed} values, "
            f"the file has {saved}"
        )
    try:
        backbone: Backbone = build()
    except SslkitError:
        raise
    except Exception as error:
        raise RunError(
            f"the weights {weights} cannot be used: building {component} with the options in the file fails with "
            f"{type(error).__name__}: {first_line(error)}"
        ) from error
    return backbone
