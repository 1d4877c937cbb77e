"""A run's trained backbone, for other programs to use."""

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
from sslkit.device.out_of_memory import first_line
from sslkit.errors import RunError, SslkitError
from sslkit.runs.find import find_run, runs_folder
from sslkit.runs.weights import count_values, load_weights
from sslkit.runs.weights_metadata import context_from_metadata, read_backbone_metadata


@dataclass(frozen=True)
class TrainedBackbone:
    """A backbone and how images are prepared for it.

    Attributes:
        backbone: in eval mode, on the CPU.
        image_size: side in pixels of the views it was trained on.
        mean: per-channel mean in 0..1, to be subtracted from images in 0..1.
        std: per-channel standard deviation in 0..1, to divide by then.
        channels: channels of the images.
    """

    backbone: Backbone
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int


def load_backbone(run: str | Path | None = None, runs: str | Path | None = None) -> TrainedBackbone:
    """The backbone of a finished run, or of a file that ``sslkit export --to safetensors`` wrote.

    Args:
        run: the run's folder, ``NAME/ID``, ``NAME`` or ``ID``, or that file; the latest run where None.
        runs: the folder of all runs; as the command line finds it where None.

    Raises:
        RunError: there is no such run, it has not finished, or its files are damaged.
        ComponentError: the backbone's distribution is not installed, or broken.
    """
    if run is not None and Path(run).is_file():
        weights = Path(run)
    else:
        root = runs_folder(Path(runs) if runs is not None else None)
        weights = find_run(str(run) if run is not None else None, root).backbone
    facts = read_backbone_metadata(weights)
    context = context_from_metadata(facts["context"], restoring=True)
    table = dict(facts["backbone"])
    use = str(table.pop("use", ""))
    entry = Catalog.scan().find(find_kind("backbone"), use)
    component: Any = load_component(entry)
    try:
        options = component.Options.model_validate_json(json.dumps(table))
    except ValidationError as error:
        raise RunError(f"{facts['run']} was trained with options that {entry} no longer has: {error}") from error
    backbone = _build(lambda: component(options, context), str(entry), weights)
    load_weights(backbone, weights)
    mean, std = tuple(facts["mean"]), tuple(facts["std"])
    return TrainedBackbone(backbone.eval(), facts["image_size"], mean, std, context.channels)


def _build(build: Callable[[], Any], what: str, weights: Path) -> Backbone:
    """The backbone that stands beside the weights, unless these are fewer: then it is not what they were trained in."""
    try:
        with torch.device("meta"):
            needed = sum(value.numel() for value in build().state_dict().values())
    except Exception:
        needed = 0  # not every network can be had without its memory
    found = count_values(weights)
    if needed > found:
        raise RunError(
            f"the weights {weights} cannot be used: {what} with the options beside them has {needed} numbers, "
            f"the file {found}"
        )
    try:
        backbone: Backbone = build()
    except SslkitError:
        raise
    except Exception as error:
        raise RunError(
            f"the weights {weights} cannot be used: building {what} with the options beside them fails with "
            f"{type(error).__name__}: {first_line(error)}"
        ) from error
    return backbone
