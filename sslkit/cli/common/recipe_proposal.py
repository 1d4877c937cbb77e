"""Propose a recipe for an image folder, estimate its training time and propose the number of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslkit.cli.common.console import print_message
from sslkit.cli.common.pretrained_proposal import parse_recipe, sweep_class_counts
from sslkit.cli.common.training_length import measure_length

if TYPE_CHECKING:
    from sslkit.bench.training_time import TrainingTime
    from sslkit.features.class_count import ClassCountProposal
    from sslkit.proposal.folder_facts import FolderFacts
    from sslkit.proposal.pretrained_weights import PretrainedWeights
    from sslkit.proposal.rules import Choice
    from sslkit.proposal.time_estimate import TimeEstimate


@dataclass(frozen=True)
class Proposal:
    """A proposed recipe, and the measurements on which it depends.

    Attributes:
        recipe: the recipe as TOML text.
        weights: the pretrained weights, or None if the recipe trains from scratch.
        estimate: estimated time for features and training, or None if there are no pretrained weights.
        sweep: the proposed number of classes, or None if numbers of classes were not compared.
        not_counted: why numbers of classes could not be compared; empty otherwise.
        usual_epochs: usual number of epochs; ``init`` prints a note if ``--minutes`` allows fewer.
        length: with ``--minutes``, the measured times and the number of epochs that fit; else None.
    """

    recipe: str
    weights: PretrainedWeights | None
    estimate: TimeEstimate | None
    sweep: ClassCountProposal | None
    not_counted: str
    usual_epochs: int
    length: tuple[TrainingTime, Choice] | None

    def as_json(self) -> dict[str, Any]:
        """Return the weights, estimated times, epochs and number of classes, where known, as JSON values."""
        values = dict[str, Any]()
        if self.weights is not None and self.estimate is not None:
            weights = {"backbone": self.weights.backbone, "source": self.weights.source}
            values |= {"weights": weights, **asdict(self.estimate)}
        if self.length is not None:
            times, epochs = self.length
            values |= {"epochs": epochs.value, "estimated_seconds": round(times.seconds(epochs.value), 1)}
        return values if self.sweep is None else values | {"class_count": self.sweep.as_json()}


def propose(
    folder: Path,
    facts: FolderFacts,
    weights: PretrainedWeights | None,
    files: Sequence[Path],
    device: str,
    *,
    must_count: bool,
    minutes: float | None,
) -> Proposal:
    """Propose a recipe for a folder of images.

    With pretrained weights, also estimate the training time. If the number of classes is unknown and the features can
    be computed in a short time, also propose the number of classes.

    Args:
        folder: folder of the images.
        facts: facts about the folder.
        weights: the pretrained weights, or None to train from scratch.
        files: the training images.
        device: device to train on.
        must_count: whether to propose the number of classes in any case, even if this takes a long time.
        minutes: time limit for training, in minutes, or None for the usual number of epochs.

    Raises:
        InputError: there are too few images, or, with ``must_count``, the number of classes cannot be found.
    """
    from sslkit.errors import InputError
    from sslkit.proposal import pretrained_rules, rules
    from sslkit.proposal.class_count_sweep import AFFORDABLE_SECONDS
    from sslkit.proposal.time_estimate import estimate_time
    from sslkit.proposal.write_recipe import propose_recipe

    text = propose_recipe(folder, facts, weights)
    estimate, sweep, not_counted = None, None, ""
    usual, most = rules.EPOCHS
    if weights is not None:
        usual = most = pretrained_rules.epochs(facts).value
        print_message("measuring the time of a few images and steps")
        recipe = parse_recipe(text)
        estimate = estimate_time(recipe, files, device)
        if must_count or (not facts.classes and estimate.feature_seconds <= AFFORDABLE_SECONDS):
            try:
                sweep = sweep_class_counts(recipe, device)
            except InputError as error:
                if must_count:
                    raise
                not_counted = str(error)
        text = propose_recipe(folder, facts, weights, sweep=sweep)
    length = None
    if minutes is not None:
        epochs, times = measure_length(text, minutes, most)
        length = times, epochs
        text = propose_recipe(folder, facts, weights, epochs=epochs, sweep=sweep)
    return Proposal(text, weights, estimate, sweep, not_counted, usual, length)
