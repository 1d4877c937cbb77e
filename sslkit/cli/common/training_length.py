"""Choose the number of epochs of a proposed recipe from the speed measured on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslkit.cli.common.console import print_text, stderr_console, stdout_console
from sslkit.cli.common.pretrained_proposal import parse_recipe

if TYPE_CHECKING:
    from sslkit.bench.training_time import TrainingTime
    from sslkit.proposal.rules import Choice

USED_SHARE = 0.95
"""Share of the time limit for steps and metrics. The rest is for checkpoints and imports."""


def measure_length(recipe: str, minutes: float, most: int) -> tuple[Choice, TrainingTime]:
    """Return the number of epochs that fit into ``minutes``, with the reason, and the measured times.

    Args:
        recipe: recipe as TOML text.
        minutes: time limit for training, in minutes.
        most: largest number of epochs.
    """
    from sslkit.bench.training_time import measure_training_time
    from sslkit.cli.common.progress import LineReporter
    from sslkit.proposal.rules import Choice

    console = stderr_console()
    print_text(console, "measuring a few steps of the proposed recipe")
    times = measure_training_time(parse_recipe(recipe), LineReporter(console))
    epochs = times.most_epochs(60 * minutes * USED_SHARE, most)
    return Choice(epochs, describe_length(times, epochs, minutes)), times


def describe_length(times: TrainingTime, epochs: int, minutes: float) -> str:
    """Return a sentence that compares the estimated time of ``epochs`` with the limit ``minutes``."""
    slowest = max(times.step_seconds.values())
    step = f"{slowest:.1f} s" if slowest >= 1 else f"{1000 * slowest:.3g} ms"
    measured = f"measured here: up to {step} a step, {times.steps_per_epoch} steps in an epoch"
    estimate = times.seconds(epochs) / 60
    limit = "More than" if estimate > minutes else "Fits into"
    return f"{limit} the {minutes:g} minutes of --minutes: about {estimate:.2g} minutes, {measured}."


def print_length(times: TrainingTime, epochs: Choice, usual: int) -> None:
    """Print the proposed number of epochs with the reason, and a note if there are fewer than ``usual`` epochs."""
    count = epochs.value
    print_text(stdout_console(), f"length: {count} epoch{'s' if count > 1 else ''}. {epochs.reason}")
    if count < usual:
        enough = times.seconds(usual) / 60
        print_text(
            stdout_console(),
            f"note: {count} epochs are few. {usual} epochs take about {enough:.2g} minutes; a GPU or fewer images "
            "would be faster.",
        )
