"""A network as ONNX, for any number of images at a time, tried with onnxruntime before it is given away."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from sslkit.errors import InputError
from sslkit.trained.network import TrainedNetwork

TOLERANCE = 1e-4
"""Largest difference of any output, relative where outputs exceed 1."""


class Outputs(nn.Module):
    """Normalised images ``[B, C, S, S]`` to features ``[B, D]`` and, where there is a classifier, logits ``[B, K]``."""

    def __init__(self, network: TrainedNetwork) -> None:
        super().__init__()
        self.backbone, self.classifier = network.backbone, network.classifier
        self.head = network.head if network.classes else None
        self.names = ["features", "logits"] if network.classes else ["features"]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.backbone(images)
        return (features,) if self.head is None else (features, self.head(features).logits[self.classifier])


def to_onnx(network: TrainedNetwork, images: Tensor, properties: dict[str, str]) -> bytes:
    """The file's bytes.

    Args:
        network: on the CPU.
        images: ``[B, C, S, S]``, at least two; what the file is tried on.
        properties: metadata.

    Raises:
        InputError: what this needs is not installed, the network cannot be written as ONNX, or onnxruntime makes
            something else of it.
    """
    for module in ("onnx", "onnxscript", "onnxruntime"):
        try:
            import_module(module)
        except ModuleNotFoundError:
            raise InputError(f"ONNX needs {module}, which is not installed: pip install 'sslkit[onnx]'") from None
    outputs = Outputs(network).eval()
    try:
        with _quiet():
            program = torch.onnx.export(
                outputs,
                (images,),
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=outputs.names,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
        assert program is not None
        program.model.metadata_props.update(properties)
        written: bytes = program.model_proto.SerializeToString()
        reason = _difference(outputs, written, images)
    except Exception as error:  # the exporter and onnxruntime raise whatever they stumble over
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if reason:
        raise InputError(f"this network cannot be written as ONNX: {reason}")
    return written


@torch.no_grad()
def _difference(outputs: Outputs, written: bytes, images: Tensor) -> str:
    """What onnxruntime makes otherwise, of several images or of one; empty where nothing."""
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    for batch in (images, images[:1]):
        results = session.run(outputs.names, {"images": batch.numpy()})
        for name, expected, found in zip(outputs.names, outputs(batch), results, strict=True):
            apart = float(((torch.from_numpy(found) - expected).abs() / expected.abs().clamp(min=1)).max())
            if not apart <= TOLERANCE:
                return f"its {name} differ by {apart:.2g} in onnxruntime, more than {TOLERANCE:g}"
    return ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on its own workings from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
