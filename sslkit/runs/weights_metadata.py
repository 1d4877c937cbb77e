"""Metadata in a run's weight files, from which the network can be rebuilt."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from sslkit.contracts.preprocessing import Interpolation, Preprocessing
from sslkit.runs.json_records import Count, FiniteNumber, PositiveNumber, Size, SizeOrNone, invalid_record, validate
from sslkit.runs.weights_header import read_metadata

if TYPE_CHECKING:
    from sslkit.contracts.context import Context


class ContextMetadata(TypedDict):
    """The ``Context`` of a training run as JSON, without the number of processes."""

    channels: Size
    image_size: Size
    mean: list[FiniteNumber]
    std: list[PositiveNumber]
    batch_size: Size
    steps_per_epoch: Annotated[int, Field(gt=0)]
    epochs: Size
    seed: int
    interpolation: Interpolation
    training_images: Count
    view_size: SizeOrNone
    view_count: SizeOrNone
    global_view_count: SizeOrNone
    feature_dim: SizeOrNone
    embedding_dim: SizeOrNone
    classifiers: list[Size]
    steps_before: NotRequired[Count]


class BackboneMetadata(TypedDict):
    """Metadata of ``backbone.safetensors``.

    Attributes:
        run: name of the run.
        step: number of optimizer steps of the training run.
        context: ``Context`` of the training run, which ``context_from_metadata`` restores.
        image_size: side of the views in pixels.
        channels: number of channels of the images.
        mean: mean of each channel, for pixel values in [0, 1].
        std: standard deviation of each channel, for pixel values in [0, 1].
        interpolation: how images are resized.
        backbone: the ``[backbone]`` table of the recipe.
        feature_dim: length D of a feature.
    """

    run: str
    step: Count
    context: ContextMetadata
    image_size: Size
    channels: Size
    mean: list[FiniteNumber]
    std: list[PositiveNumber]
    interpolation: Interpolation
    backbone: dict[str, Any]
    feature_dim: Size


class HeadMetadata(TypedDict):
    """Metadata of ``heads.safetensors``.

    Attributes:
        head: name of the head that evaluation uses, or ``""`` if there are no heads.
        classifier: index of the classifier that evaluation uses.
        classifiers: number of classes in each classifier of this head.
        logit_temperature: temperature in softmax(logits / temperature), or None if the loss defines no temperature.
    """

    head: str
    classifier: Count
    classifiers: NotRequired[list[Size]]
    logit_temperature: NotRequired[PositiveNumber | None]


def read_backbone_metadata(path: Path) -> BackboneMetadata:
    """Return the metadata of a backbone's weights.

    Raises:
        RunError: the file cannot be read, or its metadata are invalid.
    """
    metadata = validate(BackboneMetadata, read_metadata(path), path)
    for key, values in (("mean", metadata["mean"]), ("std", metadata["std"])):
        if len(values) != metadata["channels"]:
            raise invalid_record(path, key, f"it must have one value for each of {metadata['channels']} channels")
    return metadata


def read_head_metadata(path: Path, heads: Collection[str] | None = None) -> HeadMetadata:
    """Return the metadata of the heads' weights.

    Args:
        path: the weights file.
        heads: names of the recipe's heads. The metadata must name one of these heads; if None, this is not checked.

    Raises:
        RunError: the file cannot be read, or its metadata are invalid.
    """
    metadata = validate(HeadMetadata, read_metadata(path), path)
    classifiers = metadata.get("classifiers", [])
    if classifiers and metadata["classifier"] >= len(classifiers):
        raise invalid_record(path, "classifier", f"the head has only {len(classifiers)} classifiers")
    if heads is not None and metadata["head"] not in heads:
        raise invalid_record(path, "head", f"the recipe has no head {metadata['head']!r}")
    return metadata


def preprocessing_from_metadata(metadata: BackboneMetadata) -> Preprocessing:
    """Return how images are prepared for the backbone."""
    mean, std = tuple(metadata["mean"]), tuple(metadata["std"])
    return Preprocessing(metadata["image_size"], mean, std, metadata["interpolation"])


def context_from_metadata(metadata: ContextMetadata, *, restoring: bool) -> Context:
    """Return the ``Context`` that a network was trained with.

    Args:
        metadata: context from the metadata of the weights.
        restoring: whether saved weights will be loaded into the components that are built with the ``Context``.
    """
    from sslkit.contracts.context import Context  # imports torch, which `sslkit label --set` does not need

    tuples: dict[str, Any] = {key: tuple(metadata[key]) for key in ("mean", "std", "classifiers")}
    return Context(**{**metadata, **tuples, "restoring": restoring})
