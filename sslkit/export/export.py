"""Exports a run's network."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from sslkit.assembly.counterparts import difference, loading_code
from sslkit.contracts.backbone import Counterpart
from sslkit.errors import IncompatibleComponentError, InputError, SslkitError
from sslkit.export.card import ONNX_CODE, OWN_CODE, card
from sslkit.export.facts import facts
from sslkit.export.onnx import to_onnx
from sslkit.files import require_new_file, write_atomic
from sslkit.runs.records import read_evaluations
from sslkit.runs.run import Run
from sslkit.runs.weights import KEY
from sslkit.trained.network import TrainedNetwork

OWN = ("safetensors", "onnx")
"""What every backbone can be exported to; ONNX where its operations have counterparts there."""

TOLERANCE = 1e-5
"""Largest difference of features, relative where they exceed 1."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        file: the network.
        card: the model card, Markdown.
        loading: Python that loads it.
        left_out: what of the network is not in the file, in a sentence.
        notes: what is installed otherwise than when the run was trained, which evaluations are damaged; in sentences.
    """

    file: Path
    card: Path
    loading: str
    left_out: str
    notes: tuple[str, ...]


def export(run: Run, to: str, out: Path) -> Exported:
    """Write a run's network for another library, and beside it a model card.

    The file is tried first: a library's network is made, loads the weights strictly and gives the backbone's features
    on random images to 1e-5; onnxruntime gives the network's outputs to 1e-4.

    Args:
        run: a finished run.
        to: ``safetensors`` (the backbone's own names), ``onnx``, or a library that its backbone has a counterpart in.
        out: the file; ends in ``.onnx`` for that, in ``.safetensors`` for all else.

    Raises:
        InputError: there is no such export of this network, what it needs is not installed, or a file is in the way.
    """
    suffix = ".onnx" if to == "onnx" else ".safetensors"
    if out.suffix != suffix:
        raise InputError(f"--out must end in {suffix} for --to {to}: {out}")
    beside = out.with_name(f"{out.name}.md")
    require_new_file(out, beside)
    network = TrainedNetwork(run, "cpu")
    found = facts(run, network)
    loading, left_out, write = _prepare(network, found, to, out.name)
    evaluations, damaged = read_evaluations(run)
    text = card(out.name, to, loading, left_out, found, evaluations)
    write_atomic(out, write())
    write_atomic(beside, text)
    notes = (*network.notes, *(f"{path} is left out of the card: {why}" for path, why in damaged.items()))
    return Exported(out, beside, loading, left_out, notes)


def _prepare(
    network: TrainedNetwork, found: dict[str, object], to: str, file: str
) -> tuple[str, str, Callable[[], bytes]]:
    """Python that loads the file, what is left out, and what makes the file's bytes."""
    metadata = {"format": "pt", KEY: json.dumps(network.metadata | {"export": found})}
    images = _images(network)
    if to == "onnx":
        with_classes = "features and the logits of its classes" if network.classes else "features"
        outputs = "features, logits" if network.classes else "features,"
        code = ONNX_CODE.format(file=file, channels=images.shape[1], size=images.shape[2], outputs=outputs)
        left_out = f"The file gives {with_classes}, for any number of images at a time."
        return code, left_out, lambda: to_onnx(network, images, {KEY: metadata[KEY]})
    if to == "safetensors":
        left_out = "The file holds the backbone under its own names; heads and classifiers are left out."
        return OWN_CODE.format(file=file), left_out, lambda: _bytes(network.backbone.state_dict(), metadata)
    counterpart = _counterpart(network, to)
    _try_out(network, to, counterpart, images)
    left_out = (
        f"The classifier, {counterpart.classifier!r} of that network, is left out: an identity stands in its place."
        if counterpart.classifier
        else "That network's classifier is left out."
    )
    return loading_code(counterpart, file), left_out, lambda: _bytes(dict(counterpart.state), metadata)


def _images(network: TrainedNetwork) -> Tensor:
    size = network.metadata["image_size"]
    return torch.randn(3, network.metadata["channels"], size, size, generator=torch.Generator().manual_seed(0))


def _counterpart(network: TrainedNetwork, library: str) -> Counterpart:
    everything = network.backbone.counterparts()
    found = everything.get(library)
    if isinstance(found, Counterpart):
        return found
    can = [*OWN, *(name for name, other in everything.items() if isinstance(other, Counterpart))]
    use = network.recipe.backbone.use
    reason = found or f"the backbone {use!r} names no network there that takes its weights"
    raise InputError(f"this run cannot be exported to {library}: {reason}.  It can be to {', '.join(can)}")


def _try_out(network: TrainedNetwork, library: str, counterpart: Counterpart, images: Tensor) -> None:
    try:
        apart = difference(network.backbone, counterpart, images)
        if apart <= TOLERANCE:
            return
        reason = f"it gives features that differ by {apart:.2g}"
    except SslkitError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    raise IncompatibleComponentError(
        f"{network.recipe.backbone.entry}: its counterpart in {library}, {counterpart.constructor}, is none: {reason}"
    )


def _bytes(state: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    # Each a copy of its own: safetensors refuses tensors that share memory.
    return save({name: value.detach().cpu().clone().contiguous() for name, value in state.items()}, metadata)
