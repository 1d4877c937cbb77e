"""Parts of ``sslkit init`` for pretrained weights: choose the number of classes, and print the proposal."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sslkit.cli.common.console import print_line, print_message, print_table, stderr_console

if TYPE_CHECKING:
    from sslkit.features.class_count import ClassCountProposal
    from sslkit.proposal.folder_facts import FolderFacts
    from sslkit.proposal.pretrained_weights import PretrainedWeights
    from sslkit.proposal.time_estimate import TimeEstimate
    from sslkit.recipe.recipe import Recipe

SHOWN_CANDIDATES = 8
"""Maximum number of candidates to print; candidates with the highest combined scores are printed."""


def parse_recipe(text: str) -> Recipe:
    """Load and check a proposed recipe, and return it.

    Args:
        text: recipe as TOML text.
    """
    from sslkit.recipe.load import load_recipe

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.toml"
        path.write_text(text, encoding="utf-8")
        return load_recipe(path)


def sweep_class_counts(recipe: Recipe, device: str) -> ClassCountProposal:
    """Compute the features of a recipe's training images, and return the proposed number of classes.

    Raises:
        InputError: there are too few images, or their features are equal.
    """
    from sslkit.cli.common.progress import console_reporter
    from sslkit.features.class_count import propose_class_count
    from sslkit.proposal.class_count_sweep import training_features
    from sslkit.training.events import FeaturesComputed

    reporter = console_reporter(stderr_console())
    features = training_features(recipe, device, lambda done, total: reporter.on_event(FeaturesComputed(done, total)))
    print_message("comparing numbers of classes")
    return propose_class_count(features)


def print_sweep(sweep: ClassCountProposal, file: Path) -> None:
    """Print the best numbers of classes with their scores, why one is proposed, and the ``file`` with all scores."""
    best = sorted(sweep.candidates, key=lambda scores: -scores.combined)[:SHOWN_CANDIDATES]
    rows = [
        (
            f"{scores.classes}{' (proposed)' if scores.classes == sweep.classes else ''}",
            *(
                f"{value:.2f}"
                for value in (scores.combined, scores.silhouette, scores.seed_stability, scores.half_stability)
            ),
        )
        for scores in sorted(best, key=lambda scores: scores.classes)
    ]
    columns = ("classes", "combined score", "silhouette", "stability over seeds", "stability over halves")
    shown = f": {len(rows)} of {len(sweep.candidates)} candidates" if len(rows) < len(sweep.candidates) else ""
    print_table(f"number of classes, from features without labels{shown}", columns, rows)
    for reason in sweep.reasons:
        print_line(reason)
    if not sweep.clear:
        print_line("The number is uncertain. If you know it, run init with --classes N.")
    print_line(f"All scores: {file}")


def print_weights(facts: FolderFacts, weights: PretrainedWeights, estimate: TimeEstimate, *, computed: bool) -> None:
    """Print which weights the recipe uses, why, and how long training takes.

    Args:
        facts: facts about the folder of images.
        weights: the pretrained weights.
        estimate: the estimated time for features and training.
        computed: whether the features are in the cache already.
    """
    print_line(
        f"weights: {weights.source!r} of {weights.backbone}, on this machine. Pretrained features usually give better "
        "classes than training from scratch (--from-scratch)."
    )
    features = f"features of {facts.images} images: " + (
        "computed and cached" if computed else format_duration(estimate.feature_seconds)
    )
    print_line(f"time: {features}; training: {format_duration(estimate.training_seconds)}")


def format_duration(seconds: float) -> str:
    """Return a rounded duration, such as "about 40 seconds"."""
    if seconds < 100:
        return f"about {max(1, round(seconds)):d} seconds"
    minutes = seconds / 60
    return f"about {minutes:.0f} minutes" if minutes < 100 else f"about {minutes / 60:.0f} hours"


def print_from_scratch_note(facts: FolderFacts, *, asked: bool, at_hand: bool) -> None:
    """Print why the recipe trains from scratch, and how to install pretrained weights.

    Args:
        facts: facts about the folder.
        asked: whether the user asked for training from scratch.
        at_hand: whether pretrained weights are already on this machine.
    """
    from sslkit.proposal.pretrained_weights import install_command

    if facts.shows_symbols and not asked:
        print_line(
            "note: the recipe trains from scratch, because the images show plain symbols, which pretrained features "
            "distinguish less well than photographs."
        )
        return
    reason = "as --from-scratch says" if asked else "because this machine has no pretrained weights"
    print_line(
        f"note: the recipe trains from scratch, {reason}. "
        "Pretrained features usually give better classes of photographs."
    )
    if not at_hand and (command := install_command()):
        print_line(f"Install them, then run init again:\n  {command}")
