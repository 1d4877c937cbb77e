"""Export formats: safetensors, ONNX, and libraries that have an equivalent model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from sslkit.assembly.counterparts import feature_difference, loading_code
from sslkit.contracts.backbone import Counterpart
from sslkit.errors import IncompatibleComponentError, InputError, SslkitError
from sslkit.export.onnx import to_onnx
from sslkit.runs.json_records import RUN_FORMAT
from sslkit.runs.weights_header import KEY
from sslkit.trained.network import TrainedNetwork

FORMATS = ("safetensors", "onnx")
"""Formats for all backbones, if ONNX supports their operations."""

TOLERANCE = 1e-5
"""Largest accepted difference of features; see ``feature_difference``."""

ONNX_CODE = """\
import numpy
import onnxruntime

session = onnxruntime.InferenceSession({file!a}, providers=["CPUExecutionProvider"])
images = numpy.zeros((1, {channels}, {size}, {size}), dtype=numpy.float32)  # prepared as described below
{outputs} = session.run(None, {{"images": images}})"""

SAFETENSORS_CODE = """\
import sslkit

trained = sslkit.load_backbone({file!a})
model = trained.backbone"""


@dataclass(frozen=True)
class Prepared:
    """Network that is ready to be written to a file.

    Attributes:
        loading_code: Python code that loads the file.
        contents: a sentence about the contents of the file.
        to_bytes: function that returns the bytes of the file.
    """

    loading_code: str
    contents: str
    to_bytes: Callable[[], bytes]


def prepare(network: TrainedNetwork, export_metadata: Mapping[str, Any], to: str, file: str) -> Prepared:
    """Prepare the export of a network; verify the equivalent model if ``to`` is a library.

    Args:
        network: the network, on the CPU.
        export_metadata: metadata of the export.
        to: name of the format or library.
        file: name of the exported file.

    Raises:
        InputError: the network cannot be exported to this format or library.
        IncompatibleComponentError: the features of the library's model differ.
    """
    record = {"format": RUN_FORMAT, **network.metadata, "export": export_metadata}
    metadata = {"format": "pt", KEY: json.dumps(record)}
    size, channels = network.metadata["image_size"], network.metadata["channels"]
    images = torch.randn(3, channels, size, size, generator=torch.Generator().manual_seed(0))
    if to == "onnx":
        outputs = "features, logits" if network.classes else "features,"
        code = ONNX_CODE.format(file=file, channels=channels, size=size, outputs=outputs)
        values = "features and the logits of its classes" if network.classes else "features"
        contents = f"The file returns {values}, for any number of images at a time."
        return Prepared(code, contents, lambda: to_onnx(network, images, {KEY: metadata[KEY]}))
    if to == "safetensors":
        contents = "The file holds the backbone under sslkit's parameter names, without heads and classifiers."
        code = SAFETENSORS_CODE.format(file=file)
        return Prepared(code, contents, lambda: _safetensors(network.backbone.state_dict(), metadata))
    counterpart = _counterpart(network, to)
    _verify(network, to, counterpart, images)
    contents = (
        f"The file leaves out the classifier: {counterpart.classifier!r} of the {to} model becomes an identity."
        if counterpart.classifier
        else f"The file leaves out the classifier of the {to} model."
    )
    state = dict(counterpart.state)
    return Prepared(loading_code(counterpart, file), contents, lambda: _safetensors(state, metadata))


def _counterpart(network: TrainedNetwork, library: str) -> Counterpart:
    counterparts = network.backbone.counterparts()
    counterpart = counterparts.get(library)
    if isinstance(counterpart, Counterpart):
        return counterpart
    possible = [*FORMATS, *(name for name, other in counterparts.items() if isinstance(other, Counterpart))]
    use = network.recipe.backbone.use
    reason = counterpart or f"the backbone {use!r} names no model of {library} that takes its weights"
    raise InputError(f"this run cannot be exported to {library}: {reason}. Choose another: {', '.join(possible)}")


def _verify(network: TrainedNetwork, library: str, counterpart: Counterpart, images: Tensor) -> None:
    try:
        difference = feature_difference(network.backbone, counterpart, images)
        if difference <= TOLERANCE:
            return
        reason = f"its features differ by {difference:.2g}"
    except SslkitError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    raise IncompatibleComponentError(
        f"{network.recipe.backbone.entry}: {counterpart.constructor}, its counterpart in {library}, is not equivalent: "
        f"{reason}"
    )


def _safetensors(state: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    # Copies, because safetensors rejects tensors that share memory.
    return save({name: value.detach().cpu().clone().contiguous() for name, value in state.items()}, metadata)
