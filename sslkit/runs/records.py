"""What sslkit writes as JSON and reads again, with the types that it writes: run folders may come from strangers.

Each reader raises ``RunError``, naming the file, the key, and what is wrong there.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from sslkit.components.kinds import KINDS
from sslkit.contracts.context import Context
from sslkit.errors import RunError
from sslkit.files import read_regular_file
from sslkit.runs.run import Run
from sslkit.runs.weights import read_metadata

Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(gt=0, le=10_000_000)]
"""What networks are built with: no more than any option allows."""
SizeOrNone = Annotated[int, Field(ge=0, le=10_000_000)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Shape = TypeVar("Shape")


class ContextFacts(TypedDict):
    """A ``Context`` without its processes, as JSON holds it."""

    channels: Size
    image_size: Size
    mean: list[Number]
    std: list[Above0]
    batch_size: Size
    steps_per_epoch: Annotated[int, Field(gt=0)]
    epochs: Size
    seed: int
    view_size: SizeOrNone
    view_count: SizeOrNone
    global_view_count: SizeOrNone
    feature_dim: SizeOrNone
    embedding_dim: SizeOrNone
    classifiers: list[Size]
    steps_before: NotRequired[Count]


class BackboneFacts(TypedDict):
    """What stands beside a backbone's weights.

    Attributes:
        run: name of the run.
        step: optimizer steps it was trained for.
        context: runtime facts of the training; ``context_of`` makes them one.
        image_size: side of the views in pixels.
        channels: of the images.
        mean: of each channel, of values in 0..1.
        std: the same.
        backbone: its table in the recipe.
        feature_dim: width of the features.
    """

    run: str
    step: Count
    context: ContextFacts
    image_size: Size
    channels: Size
    mean: list[Number]
    std: list[Above0]
    backbone: dict[str, Any]
    feature_dim: Size


class HeadFacts(TypedDict):
    """What stands beside the weights of heads.

    Attributes:
        head: name of the one that evaluation uses; empty where there is none.
        classifier: place of the classifier that evaluation uses.
        classifiers: the number of classes of each of its classifiers.
        logit_temperature: probabilities are softmax(logits / temperature); None where the loss does not tell.
    """

    head: str
    classifier: Count
    classifiers: NotRequired[list[Size]]
    logit_temperature: NotRequired[Above0 | None]


def _known(kind: str) -> str:
    if all(kind != known.singular for known in KINDS):
        raise ValueError(f"no kind of component is called {kind!r}")
    return kind


class ComponentFacts(TypedDict):
    """A component that a run was trained with, and the distribution that it came from."""

    kind: Annotated[str, AfterValidator(_known)]
    name: str
    distribution: str
    version: str


class Parent(TypedDict):
    """The run that another continues.

    Attributes:
        run: its name.
        steps: optimizer steps that it was trained for, those of all that it continues included.
        epochs: those of it and of all that it continues.
    """

    run: str
    steps: Count
    epochs: Count


class _Hardware(TypedDict):
    device: str
    name: str
    threads: Count
    precision: str
    channels_last: bool


class Provenance(TypedDict):
    """What is read again of a run's ``provenance.json``, which holds more.

    Attributes:
        seed: of the run.
        versions: of libraries.
        components: by their place in the recipe.
        training_images: their number.
        image_shape: ``[channels, H, W]`` of the images in store.
        class_names: of the data; empty without labels.
        images_sha256: of the images; needed to go on with a run alone.
        hardware: what it was trained on, and in which arithmetic.
        continued_from: where it continues another run.
    """

    seed: int
    versions: dict[str, str]
    components: dict[str, ComponentFacts]
    training_images: Count
    image_shape: Annotated[list[Size], Field(min_length=3, max_length=3)]
    class_names: list[str]
    images_sha256: NotRequired[str]
    hardware: _Hardware
    continued_from: NotRequired[Parent]


class _Figures(TypedDict):
    # Figures that are no numbers are null.
    fractions: NotRequired[dict[float, dict[str, float | None]]]
    named: NotRequired[dict[str, float | None]]
    curves: NotRequired[list[dict[str, float | None]]]


class _Sent(TypedDict):
    rows: Count
    step: Count
    id: NotRequired[str]


class _Evaluation(TypedDict):
    protocol: dict[str, dict[str, Any]]
    baselines: dict[str, _Figures]
    baseline_protocols: NotRequired[dict[str, dict[str, Any]]]
    evaluated_with: NotRequired[dict[str, str]]


def backbone_facts(path: Path) -> BackboneFacts:
    """What stands beside the weights of a backbone."""
    facts = _checked(BackboneFacts, read_metadata(path), path)
    for key, values in (("mean", facts["mean"]), ("std", facts["std"])):
        if len(values) != facts["channels"]:
            raise _wrong(path, key, f"the images have {facts['channels']} channels")
    return facts


def head_facts(path: Path, heads: Collection[str] | None = None) -> HeadFacts:
    """What stands beside the weights of heads; ``heads`` are the names that there are."""
    facts = _checked(HeadFacts, read_metadata(path), path)
    classifiers = facts.get("classifiers", [])
    if classifiers and facts["classifier"] >= len(classifiers):
        raise _wrong(path, "classifier", f"there are only {len(classifiers)}")
    if heads is not None and facts["head"] not in heads:
        raise _wrong(path, "head", f"the recipe has none called {facts['head']!r}")
    return facts


def read_provenance(run: Run) -> Provenance:
    """What a run was trained with."""
    return _checked(Provenance, _json(run.provenance), run.provenance)


def read_sent(path: Path) -> dict[str, dict[str, Any]]:
    """What each logger was sent, by its name."""
    return {name: dict(sent) for name, sent in _checked(dict[str, _Sent], _json(path), path).items()}


def _json(path: Path) -> Any:
    try:
        return json.loads(read_regular_file(path))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def read_evaluations(run: Run) -> tuple[list[dict[str, Any]], dict[Path, str]]:
    """A run's evaluations as they were saved, oldest first, and the files that are damaged, with what is wrong."""
    results: list[dict[str, Any]] = []
    damaged: dict[Path, str] = {}
    for path in sorted(run.evaluations.glob("*.json")):
        try:
            result = _json(path)
            found = _checked(_Evaluation, result, path)
            _checked(dict[str, _Figures], {name: result[name] for name in found["protocol"] if name in result}, path)
            results.append(result)
        except RunError as error:
            damaged[path] = str(error).replace(str(path), "it", 1)
    return results, damaged


def epochs_before(run: Run) -> int:
    """Epochs of the run that a run continues, and of all that this one continues; 0 where it continues none."""
    parent = read_provenance(run).get("continued_from")
    return parent["epochs"] if parent is not None else 0


def context_of(facts: ContextFacts, *, restoring: bool) -> Context:
    """The runtime facts that a network was trained with.

    Args:
        facts: what stands beside its weights.
        restoring: whether weights are about to be loaded into what is built.
    """
    lists: dict[str, Any] = {key: tuple(facts[key]) for key in ("mean", "std", "classifiers")}
    return Context(**{**facts, **lists, "restoring": restoring})


def _checked(shape: type[Shape], value: Any, path: Path) -> Shape:
    try:
        return TypeAdapter(shape).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise _wrong(path, ".".join(map(str, first["loc"])), first["msg"]) from error


def _wrong(path: Path, key: str, reason: str) -> RunError:
    return RunError(f"{path} is not as sslkit writes it: {key or 'the whole'}: {reason}")
