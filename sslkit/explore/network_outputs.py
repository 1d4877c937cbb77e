"""Features and logits of a run's images, cached so that ``sslkit explore`` opens a run again without the network.

Importing and building a backbone takes seconds, and so does hashing all pixels for the feature cache. The key of the
saved outputs therefore contains sizes and time stamps of the run's files and of the components' source files instead of
their content. Images are identified by the ``content_id`` of their store, if it has one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from sslkit.components.catalog import Catalog
from sslkit.components.kinds import find_kind
from sslkit.contracts.dataset import ImageStore
from sslkit.data.checksum import checksum
from sslkit.device.hardware import device_name
from sslkit.errors import ComponentError, RunError
from sslkit.features.cache import load_or_compute
from sslkit.features.extraction import classify_features
from sslkit.features.recurring_classes import recurring_classes
from sslkit.features.row_buffer import RowBuffer
from sslkit.runs.provenance_file import read_provenance
from sslkit.runs.run import Run
from sslkit.trained.installed_versions import corrections_note, version_differences

OUTPUTS_FORMAT = 1
"""Version of the saved outputs. Increase it when their computation or their names change."""

BLOCK = 8192
"""Number of features that are normalised at a time."""

OnProgress = Callable[[str, int, int], None]
"""Function that is called with the name of the current work, such as ``"reading images"``, and the numbers of completed
and of all items."""


@dataclass(frozen=True)
class NetworkOutputs:
    """Outputs of a run's network for N images.

    Attributes:
        features: L2-normalised features, float32 ``[N, D]``.
        norms: L2 norms of the features before the normalisation, float32 ``[N, 1]``.
        logits: class logits, float32 ``[N, K]``.
        temperature: temperature of the class probabilities softmax(logits / temperature).
        stability: float32 ``[K]``, share of the head's other classifiers that also find the class, or None if there
            are no other classifiers.
        notes: sentences about the network and the cache, for the user.
    """

    features: Tensor
    norms: Tensor
    logits: Tensor
    temperature: float
    stability: Tensor | None
    notes: tuple[str, ...]


def compute_outputs(run: Run, stores: Sequence[ImageStore], device: str, on_progress: OnProgress) -> NetworkOutputs:
    """Return the outputs of a finished run's network for all images of ``stores``, from the cache if possible.

    Raises:
        RunError: the run has not finished, has no classifier, or its files are damaged.
        RecipeError: the backbone or the head is not installed or has invalid options.
    """
    notes = [*version_differences(run), *corrections_note(run)]
    key = _key(run, stores, device)
    outputs = load_or_compute(key, lambda: _compute(run, stores, device, on_progress, notes), notes, check=False)
    stability = outputs["stability"]
    return NetworkOutputs(
        features=outputs["features"],
        norms=outputs["norms"],
        logits=outputs["logits"],
        temperature=float(outputs["temperature"]),
        stability=stability if len(stability) else None,
        notes=tuple(notes),
    )


def _compute(
    run: Run, stores: Sequence[ImageStore], device: str, on_progress: OnProgress, notes: list[str]
) -> dict[str, Tensor]:
    from sslkit.trained.network import TrainedNetwork

    network = TrainedNetwork(run, device)
    if network.head is None or not network.classes:
        raise RunError(f"{run.name} has no classes to explore: its network has no classifier")
    total, done = sum(map(len, stores)), 0
    # Classifiers with the same number of classes: the chosen one first.
    classifiers = [index for index, count in enumerate(network.head.classifiers) if count == network.classes]
    classifiers.sort(key=lambda index: index != network.classifier)
    logits, assigned = RowBuffer(total), [RowBuffer(total) for _ in classifiers[1:]]
    features, norms = RowBuffer(total), RowBuffer(total)
    for store in stores:
        network.frozen.on_progress = lambda count, _, done=done: on_progress("computing features", done + count, total)
        part = network.frozen.features(store)
        network.frozen.forget()  # ``part`` is the only copy in memory, and is changed below
        on_progress("assigning classes", done, total)
        for buffer, index in zip((logits, *assigned), classifiers, strict=True):
            found = classify_features(network.head, part, index)
            assert found is not None
            buffer.add(found if buffer is logits else found.argmax(1))
        norms.add(_normalise(part))
        if len(stores) > 1:
            features.add(part)
        else:
            only = part
        done += len(part)
        del part
    notes += network.frozen.notes
    found_logits, others = logits.finish(), [buffer.finish() for buffer in assigned]
    stability = recurring_classes(found_logits.argmax(1), others, network.classes) if others else torch.empty(0)
    temperature = torch.tensor(1.0 if network.temperature is None else network.temperature, dtype=torch.float64)
    return {
        "features": features.finish() if len(stores) > 1 else only,
        "norms": norms.finish(),
        "logits": found_logits,
        "stability": stability,
        "temperature": temperature,
    }


def _normalise(features: Tensor) -> Tensor:
    """Divide features ``[N, D]`` by their norms in place, in blocks, and return the norms ``[N, 1]``."""
    norms = torch.empty(len(features), 1)
    for block, lengths in zip(features.split(BLOCK), norms.split(BLOCK), strict=True):
        lengths.copy_(torch.linalg.vector_norm(block, dim=1, keepdim=True).clamp_(min=1e-12))
        block /= lengths
    return norms


def _key(run: Run, stores: Sequence[ImageStore], device: str) -> str:
    """Return the key of the saved outputs, or ``""`` (do not save them) if a component's source files are missing."""
    record, catalog = read_provenance(run), Catalog.scan()
    stamps: list[object] = [_stamp(path) for path in (run.recipe, run.backbone, run.heads)]
    packages = {"sslkit"}
    try:
        for component in record["components"].values():
            entry = catalog.find(find_kind(component["kind"]), f"{component['distribution']}:{component['name']}")
            packages.add(entry.target.partition(":")[0].partition(".")[0])
        for package in sorted(packages):
            spec = find_spec(package)
            folders = [] if spec is None else spec.submodule_search_locations or []
            if not folders:
                return ""
            stamps += [_stamp(file) for folder in folders for file in sorted(Path(folder).rglob("*.py"))]
    except (ComponentError, OSError):
        return ""
    versions = [version(name) for name in sorted(record["versions"])]
    content = [[getattr(store, "content_id", "") or checksum(store), len(store), *store.shape] for store in stores]
    parts = [OUTPUTS_FORMAT, versions, device_name(device), stamps, content]
    return f"outputs-{hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()}"


def _stamp(path: Path) -> list[object]:
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]
