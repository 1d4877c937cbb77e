"""Read ``provenance.json``, the record of how a run was trained."""

from __future__ import annotations

from typing import Annotated, NotRequired

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from sslkit.components.kinds import KINDS
from sslkit.runs.json_records import Count, Size, read_json, validate
from sslkit.runs.run import Run


def _require_known(kind: str) -> str:
    if all(kind != known.singular for known in KINDS):
        raise ValueError(f"there is no kind of component {kind!r}")
    return kind


class ComponentRecord(TypedDict):
    """A component of a run, and the distribution that contains the component."""

    kind: Annotated[str, AfterValidator(_require_known)]
    name: str
    distribution: str
    version: str


class ParentRun(TypedDict):
    """The parent of a run: the run that provided the initial weights.

    Attributes:
        run: name of the parent run.
        steps: number of optimizer steps of the parent and all its ancestors.
        epochs: number of epochs of the parent and all its ancestors.
    """

    run: str
    steps: Count
    epochs: Count


class CorrectedRun(TypedDict):
    """The run whose classes a user corrected before the head was trained again.

    Attributes:
        run: name of the run.
        images: number of corrected images.
    """

    run: str
    images: Count


class _Hardware(TypedDict):
    device: str
    name: str
    threads: Count
    precision: str
    channels_last: bool


class Provenance(TypedDict):
    """The part of ``provenance.json`` that sslkit reads. The file contains more.

    Attributes:
        seed: seed of the run.
        versions: version of each library that affects results.
        components: components of the run, keyed by their path in the recipe.
        splits: names of the data set's splits.
        training_images: number of training images.
        image_shape: ``[channels, H, W]`` of the stored images.
        class_names: names of the data set's labels, or an empty list if there are none.
        images_sha256: checksum of the training images; needed only to resume.
        initial_backbone_sha256: checksum of the backbone's weights before training.
        hardware: device, precision and memory format.
        continued_from: parent run, if there is one.
        corrected_from: run whose corrections the head was trained with, if there is one.
    """

    seed: int
    versions: dict[str, str]
    components: dict[str, ComponentRecord]
    splits: NotRequired[list[str]]
    training_images: Count
    image_shape: Annotated[list[Size], Field(min_length=3, max_length=3)]
    class_names: list[str]
    images_sha256: NotRequired[str]
    initial_backbone_sha256: NotRequired[str]
    hardware: _Hardware
    continued_from: NotRequired[ParentRun]
    corrected_from: NotRequired[CorrectedRun]


def read_provenance(run: Run) -> Provenance:
    """Return the record of how a run was trained.

    Raises:
        RunError: the file cannot be read or is invalid.
    """
    return validate(Provenance, read_json(run.provenance), run.provenance)


def parent_epochs(run: Run) -> int:
    """Return the number of epochs of all runs that ``run`` continues; 0 if there is no parent run."""
    parent = read_provenance(run).get("continued_from")
    return parent["epochs"] if parent is not None else 0


def trained_with_corrections(run: Run) -> int:
    """Return the number of corrected images if the head was trained with a user's corrections, else 0."""
    corrected = read_provenance(run).get("corrected_from")
    return corrected["images"] if corrected is not None else 0
