"""The collapse watch: says when a network has stopped telling images apart, and what usually helps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

CONSTANT_VIEWS = 1e-3
"""Contrast between views of different images, in standard deviations of the data, below which they show nothing."""

SPREAD = 1e-3
"""Spread of features below which they are one point; networks that tell images apart have 0.01 to 1."""

FALLEN = 0.75
"""Part of the untrained features' entropy (whose exponential is the rank) below which directions are lost.

Trainings that went wrong kept 0.35 to 0.71, from rank 28 and from 355; healthy ones kept 0.77 after their first epoch
and 0.82 at their end, or more.
"""

ENTROPY = 0.05
"""Entropy of assignments, as a part of ln K, below which one class has nearly all images."""

ABOVE = 1.0
"""Nats above ln K that no working loss has: untrained logits of temperature 0.1 in 128 dimensions cost 0.4."""

NEAR, STILL = 5e-3, 1e-3
"""How near to ln K, and to its last value, as parts of it, a loss that is stuck is."""

PATIENCE = 200
"""Steps that a loss has to leave ln K: with frozen prototypes and a warm-up, healthy trainings need some dozens."""

AT_ONCE = frozenset({"views", "stuck"})
"""Signs that are reported at their first occurrence."""


class CollapseDetector:
    """Judges one measurement after the other; knows no label.

    A start may look like a collapse and recover, features above all, before BatchNorm's statistics have settled: a sign
    is told when there is another, though not yet in the first measurement, when the measurement before had one, too, or
    when no measurement follows.
    """

    def __init__(self) -> None:
        self.untrained = 0.0
        """Rank before the first step; 0: not measured."""
        self.told: list[str] = []
        """CollapseMetrics that were told already."""
        self.began = False
        """Whether there was a measurement since training began."""
        self.suspects = False
        """Whether the last measurement had signs that wait for the next."""
        self.before = math.inf
        """The last loss of a classifier over ln K."""

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {
            "untrained": self.untrained,
            "told": list(self.told),
            "began": self.began,
            "suspects": self.suspects,
            "before": self.before,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after a checkpoint."""
        self.untrained, self.before = state["untrained"], float(state["before"])
        self.told, self.began, self.suspects = list(state["told"]), bool(state["began"]), bool(state["suspects"])

    def judge(
        self, figures: Mapping[str, float], loss: float | None, classes: int, *, steps: int, last: bool = False
    ) -> list[str]:
        """What has newly gone wrong, each with the likely remedy.

        Args:
            figures: what monitors have measured; looks at ``view_contrast``, ``spread``, ``rank`` and
                ``view_entropy``.
            loss: of the classifier, over the epoch, where a loss tells; to be compared with ln K.
            classes: K of that classifier; 0 where there is none.
            steps: optimizer steps so far.
            last: whether this measurement is the last.
        """
        found = self._signs(figures, classes)
        # Each sign is a consequence of those before it: the first is the cause.
        first = dict(list(found.items())[:1]) if "views" in found else found
        if loss is not None and classes > 1 and not first:
            first = self._stuck(loss, math.log(classes), steps)
        untold = {name: text for name, text in first.items() if name not in self.told}
        sure = self.suspects or last or (self.began and len(first) > 1)
        self.began = True
        new = {name: text for name, text in untold.items() if name in AT_ONCE or sure}
        self.suspects = len(new) < len(untold)
        self.told += list(new)
        if loss is not None and classes > 1:
            self.before = loss / math.log(classes)
        return list(new.values())

    def _signs(self, figures: Mapping[str, float], classes: int) -> dict[str, str]:
        found = {}
        contrast, spread, rank = (figures.get(name) for name in ("view_contrast", "spread", "rank"))
        if contrast is not None and contrast < CONSTANT_VIEWS:
            found["views"] = (
                f"views of different images are all alike (contrast {contrast:.2g}): there is nothing to learn from; "
                "look at the views' options, crops too small or jitter too strong"
            )
        remedy = "lower the learning rate, lengthen the warm-up, or check the loss's temperature"
        if spread is not None and not spread >= SPREAD:
            found["spread"] = f"features of different images point the same way (spread {spread:.2g}): {remedy}"
        elif rank is not None and not rank >= self.untrained**FALLEN:
            found["rank"] = (
                f"features of different images differ in few directions (effective rank {rank:.3g}, before training "
                f"{self.untrained:.3g}): {remedy}"
            )
        if classes > 1 and "view_entropy" in figures and figures["view_entropy"] < ENTROPY * math.log(classes):
            found["entropy"] = (
                f"nearly all images are in one of {classes} classes "
                f"(entropy {figures['view_entropy']:.2g} of ln K = {math.log(classes):.2f}): "
                "lower the learning rate, use fewer classes or prototypes, or freeze prototypes for longer"
            )
        return found

    def _stuck(self, loss: float, ln_k: float, steps: int) -> dict[str, str]:
        if loss > ln_k + ABOVE:
            return {
                "above": f"the loss {loss:.3f} is far above ln K = {ln_k:.3f}, that of knowing nothing: "
                "raise the temperature (0.1 is usual), or lower the learning rate"
            }
        near = abs(loss / ln_k - 1) < NEAR and abs(loss / ln_k - self.before) < STILL
        if near and steps >= PATIENCE:
            return {
                "stuck": f"the loss {loss:.3f} stays at ln K = {ln_k:.3f}, that of knowing nothing: "
                "use fewer prototypes, freeze them for longer, a smaller or later queue, softer crops, "
                "a smaller sinkhorn_epsilon (0.03), or a head without BatchNorm"
            }
        return {}
