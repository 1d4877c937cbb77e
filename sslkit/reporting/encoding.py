"""Encode the images of a run for a report: features, discovered classes, and a user's corrections."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from sslkit.contracts.dataset import Split
from sslkit.data.datasets.image_folder import ImageFolder
from sslkit.data.splits import evenly_spaced_indices
from sslkit.data.store import SubsetStore
from sslkit.errors import SslkitError
from sslkit.evaluation.discovered_classes import DiscoveredClasses
from sslkit.evaluation.labels import count_classes
from sslkit.evaluation.run_subject import RunSubject
from sslkit.features.extraction import classify_features, extract_features
from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.runs.run import Run

TRAINING_SAMPLE = 400
"""Number of training images on the map, next to the test images."""


def encode_split(run: Run, device: str) -> EncodedSplit:
    """Encode a finished run's test images, or its training images if the data set has no test images.

    Raises:
        SslkitError: the run has not finished, its files are damaged, or its images are missing.
    """
    subject = RunSubject(run, device)
    name = "test" if "test" in subject.dataset.splits else "train"
    features = subject.features(name).features
    encoded = _encode(subject, name, subject.split(name), features)
    return replace(
        encoded,
        other_classifiers=_other_classifiers(subject, features),
        corrections=subject.corrected_classes(name),
        training_sample=_training_sample(subject) if name == "test" else None,
    )


def _encode(subject: RunSubject, name: str, split: Split, features: Tensor) -> EncodedSplit:
    names = subject.class_names
    if split.labels is not None and not names:
        names = tuple(map(str, range(count_classes(names, split.labels))))
    network, discovered = subject.network, None
    logits = None if network.head is None else classify_features(network.head, features, network.classifier)
    if logits is not None:
        discovered = DiscoveredClasses.from_logits(logits, split.labels, len(names), subject.temperature)
    root = subject.dataset.options.root if isinstance(subject.dataset, ImageFolder) else None
    return EncodedSplit(name, split, features, names, discovered, subject.notes, subject.seed, root=root)


def _training_sample(subject: RunSubject) -> EncodedSplit | None:
    """Return some training images with their features, or None if the data set has no training images."""
    if "train" not in subject.dataset.splits:
        return None
    split, network = subject.split("train"), subject.network
    indices = evenly_spaced_indices(len(split.images), min(len(split.images), TRAINING_SAMPLE))
    if network.recipe.backbone.wiring.train == "none":
        features = network.frozen.features(split.images)[indices]  # training has cached these features
    else:
        features = extract_features(network.backbone, split.images, network.preprocessing, indices=indices)
    labels = None if split.labels is None else split.labels[indices]
    files = tuple(split.files[index] for index in indices.tolist()) if split.files else ()
    return _encode(subject, "train", Split(SubsetStore(split.images, indices), labels, files), features)


def _other_classifiers(subject: RunSubject, features: Tensor) -> tuple[Tensor, ...]:
    """Return a tensor ``[N]`` with the classes of the images for each classifier that evaluation does not use.

    Only classifiers of the evaluated head that have as many classes as the evaluated classifier are included.
    """
    network = subject.network
    if network.head is None or not network.classes:
        return ()
    found = []
    for index, count in enumerate(network.head.classifiers):
        if index != network.classifier and count == network.classes:
            logits = classify_features(network.head, features, index)
            assert logits is not None
            found.append(logits.argmax(1))
    return tuple(found)


def assigned_classes(run: Run, device: str) -> tuple[str, Tensor] | None:
    """Return a checksum of the images that a report shows, and the class of each image.

    A report on multiple runs needs both to compare the classes of runs that have the same images. Return None if the
    run has no classes or cannot be loaded.
    """
    try:
        subject = RunSubject(run, device)
        name = "test" if "test" in subject.dataset.splits else "train"
        logits = subject.features(name).logits
        return None if logits is None else (subject.checksum(name), logits.argmax(1))
    except SslkitError:
        return None
