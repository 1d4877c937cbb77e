"""Says which step was not finite, what of it, and what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from sslkit.assembly.assemble import Assembly
from sslkit.errors import TrainingError
from sslkit.runs.run import Run

SHOWN = 5
"""Images of a batch that are named."""


def divergence(
    run: Run, assembly: Assembly, step: int, saved: int, names: Sequence[str], figures: Sequence[float]
) -> TrainingError:
    """The error that ends a run.

    Args:
        run: the run.
        assembly: what is trained.
        step: the first step that was not finite, from 1.
        saved: step of the newest checkpoint; 0: there is none.
        names: the loss and its terms.
        figures: what they were in that step; empty where they are not known.
    """
    epoch, place = divmod(step - 1, assembly.context.steps_per_epoch)
    size = assembly.context.batch_size
    images = assembly.loader.order(epoch)[place * size : (place + 1) * size].tolist()
    named = ", ".join(map(str, images[:SHOWN])) + (", ..." if size > SHOWN else "")
    wrong = [f"{name} is {value}" for name, value in zip(names, figures, strict=False) if not math.isfinite(value)]
    kept = f"the newest checkpoint, of step {saved}, is from before" if saved else "nothing was saved before"
    return TrainingError(
        f"training diverged in step {step} (batch {place + 1} of epoch {epoch + 1}, images {named}): "
        f"{', '.join(wrong) or 'the gradient is not finite'}; the weights were kept from it, {kept}. "
        "A lower learning rate, a longer warm-up or a higher temperature is the usual remedy: train the changed recipe "
        f"anew, or change {run.recipe} and go on with `sslkit resume {run.path} --allow recipe`."
    )


def read(pending: Sequence[Tensor], last: int, step: int) -> list[float]:
    """The row of ``step`` among those pending, of which the newest is of step ``last``; empty where it is not there."""
    place = len(pending) - 1 - (last - step)
    return [float(value) for value in pending[place]] if 0 <= place < len(pending) else []
