"""Convert a network to ONNX with a variable batch size, and verify the result with onnxruntime."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sslkit.components.optional_packages import import_optional
from sslkit.errors import InputError
from sslkit.trained.network import TrainedNetwork

TOLERANCE = 1e-4
"""Largest accepted difference of an output; relative where the absolute value of the output exceeds 1."""


class OnnxOutputs(nn.Module):
    """Module that maps images ``[B, C, S, S]`` to features ``[B, D]`` and, with a classifier, logits ``[B, K]``."""

    def __init__(self, network: TrainedNetwork) -> None:
        super().__init__()
        self.backbone, self.classifier = network.backbone, network.classifier
        self.head = network.head if network.classes else None
        self.names = ["features", "logits"] if network.classes else ["features"]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.backbone(images)
        return (features,) if self.head is None else (features, self.head(features).logits[self.classifier])


def to_onnx(network: TrainedNetwork, images: Tensor, properties: dict[str, str]) -> bytes:
    """Return the content of an ONNX file, after verifying it with onnxruntime.

    Args:
        network: the network, on the CPU.
        images: at least two images ``[B, C, S, S]``, on which the ONNX file is verified.
        properties: metadata of the file.

    Raises:
        InputError: a package is missing, the network cannot be converted, or onnxruntime's outputs
            differ from the network's.
    """
    for module in ("onnx", "onnxscript", "onnxruntime"):
        import_optional(module, "ONNX", "onnx")
    outputs = OnnxOutputs(network).eval()
    try:
        with _hide_messages():
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
        content: bytes = program.model_proto.SerializeToString()
        reason = _difference(outputs, content, images)
    except Exception as error:  # the exporter and onnxruntime raise errors of many types
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if reason:
        raise InputError(f"this network cannot be exported to ONNX: {reason}")
    return content


@torch.no_grad()
def _difference(outputs: OnnxOutputs, content: bytes, images: Tensor) -> str:
    """Return how onnxruntime differs from the network for a batch and for one image, or ``""`` if they agree."""
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for batch in (images, images[:1]):
        results = session.run(outputs.names, {"images": batch.numpy()})
        for name, expected, actual in zip(outputs.names, outputs(batch), results, strict=True):
            difference = float(((torch.from_numpy(actual) - expected).abs() / expected.abs().clamp(min=1)).max())
            if not difference <= TOLERANCE:  # True for NaN, too
                return f"its {name} differ by {difference:.2g} in onnxruntime, more than {TOLERANCE:g}"
    return ""


@contextmanager
def _hide_messages() -> Iterator[None]:
    """Hide warnings and log messages about the internals of torch's ONNX exporter."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)
