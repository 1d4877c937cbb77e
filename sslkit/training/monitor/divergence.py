"""Error for training with a non-finite loss, gradient or weight."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from sslkit.assembly.assemble import Assembly
from sslkit.errors import TrainingError
from sslkit.runs.run import Run

SHOWN_IMAGES = 5
"""Largest number of image indices in the error message."""


def divergence_error(
    run: Run, assembly: Assembly, step: int, checkpoint_step: int, names: Sequence[str], losses: Sequence[float]
) -> TrainingError:
    """Return the error that ends a diverged run.

    Args:
        run: the run.
        assembly: the assembled recipe.
        step: the first step with a non-finite value, counted from 1.
        checkpoint_step: step of the newest checkpoint; 0 if there is none.
        names: names of the loss and its terms.
        losses: values of the loss and its terms in this step, or an empty sequence if unknown.
    """
    position, loader = step - 1 - assembly.context.step_offset, assembly.loader
    epoch, batch = divmod(position, loader.steps_per_epoch)
    number, first = divmod(position, loader.steps_per_pass)
    size = assembly.context.batch_size
    images = loader.order(number)[first * size : (first + 1) * size].tolist()
    shown = ", ".join(map(str, images[:SHOWN_IMAGES])) + (", ..." if size > SHOWN_IMAGES else "")
    causes = [f"{name} is {value}" for name, value in zip(names, losses, strict=False) if not math.isfinite(value)]
    saved = (
        f"the newest checkpoint, of step {checkpoint_step}, is from before"
        if checkpoint_step
        else "there is no checkpoint"
    )
    return TrainingError(
        f"training diverged in step {step} (batch {batch + 1} of epoch {epoch + 1}, images {shown}): "
        f"{', '.join(causes) or 'the gradient is not finite'}; the step was rolled back, {saved}. "
        "Usually a lower learning rate, a longer warm-up or a higher temperature helps: train the changed recipe "
        f"from the beginning, or change {run.recipe} and continue with `sslkit resume {run.path} --allow recipe`."
    )


def losses_of_step(pending: Sequence[Tensor], last: int, step: int) -> list[float]:
    """Return the losses of ``step``, or an empty list if ``pending`` does not contain them.

    ``pending`` contains one tensor of losses for each of the latest steps. Its final tensor is that of step ``last``.
    """
    index = len(pending) - 1 - (last - step)
    return [float(value) for value in pending[index]] if 0 <= index < len(pending) else []
