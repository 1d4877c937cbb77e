"""Detect that a network no longer separates images (collapse), and report what usually helps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MIN_VIEW_CONTRAST = 1e-3
"""Contrast between views of different images below which views are all alike, in standard deviations of the data."""

MIN_FEATURE_STD = 1e-3
"""Standard deviation of features below which all features are equal; healthy networks have 0.01 to 1."""

MIN_ENTROPY_KEPT = 0.75
"""Ratio of the log effective rank to that before training, below which features have too few independent directions.

Failed runs had 0.35 to 0.71. Healthy runs had at least 0.77 after the first epoch and 0.82 at the end.
"""

MIN_ASSIGNMENT_ENTROPY = 0.05
"""Entropy of the class assignments divided by ln K, below which one class has nearly all images."""

MAX_LOSS_ABOVE_LN_K = 1.0
"""Difference between loss and ln K in nats, above which training has failed.

For an untrained head with 128 dimensions and temperature 0.1, the difference is 0.4.
"""

STUCK_NEAR_LN_K, STUCK_CHANGE = 5e-3, 1e-3
"""Largest differences of a stuck loss from ln K and from the previous loss, both divided by ln K."""

STUCK_STEPS = 200
"""Steps until a loss near ln K counts as stuck. Healthy runs leave ln K in dozens of steps, even with warm-up."""

IMMEDIATE = frozenset({"views", "stuck"})
"""Names of symptoms that are reported at their first occurrence."""


class CollapseDetector:
    """Detector of symptoms of collapse in the metrics and the loss after each epoch, without labels.

    In the first epochs, a healthy run may also have symptoms of collapse. A symptom that is not in ``IMMEDIATE`` is
    therefore reported only in one of these cases:

    - the previous measurement also had a symptom,
    - the measurement has at least two symptoms and is not the first,
    - the measurement is the final one of the run.
    """

    def __init__(self) -> None:
        self.untrained_rank = 0.0
        """Effective rank before the first step; 0 if not measured."""
        self.reported: list[str] = []
        """Names of the symptoms that were already reported."""
        self.measured = False
        """Whether ``update`` has been called."""
        self.suspicious = False
        """Whether the latest measurement had symptoms that were not reported."""
        self.relative_loss = math.inf
        """Latest loss of the classifier, divided by ln K; infinite before the first measurement."""

    def state_dict(self) -> dict[str, Any]:
        """Return the detector's state for a checkpoint."""
        return {**vars(self), "reported": list(self.reported)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the detector's state from a checkpoint."""
        self.untrained_rank, self.relative_loss = state["untrained_rank"], float(state["relative_loss"])
        self.reported, self.measured = list(state["reported"]), bool(state["measured"])
        self.suspicious = bool(state["suspicious"])

    def update(
        self, metrics: Mapping[str, float], loss: float | None, classes: int, *, step: int, last: bool = False
    ) -> list[str]:
        """Add a measurement and return new warnings, each with a remedy.

        Args:
            metrics: metrics at the end of an epoch. The detector reads ``view_contrast``, ``feature_std``,
                ``effective_rank`` and ``view_entropy``.
            loss: mean loss of the classifier over the epoch, or None if the recipe's losses do not report it.
            classes: number of classes K of the classifier; 0 if there is no classifier.
            step: number of optimizer steps taken.
            last: whether this is the final measurement of the run.
        """
        symptoms = self._symptoms(metrics, classes)
        if "views" in symptoms:  # views without content cause all other symptoms
            symptoms = {"views": symptoms["views"]}
        if loss is not None and classes > 1 and not symptoms:
            symptoms = self._stuck_loss(loss, math.log(classes), step)
        unreported = {name: text for name, text in symptoms.items() if name not in self.reported}
        certain = self.suspicious or last or (self.measured and len(symptoms) > 1)
        self.measured = True
        new = {name: text for name, text in unreported.items() if name in IMMEDIATE or certain}
        self.suspicious = len(new) < len(unreported)
        self.reported += list(new)
        if loss is not None and classes > 1:
            self.relative_loss = loss / math.log(classes)
        return list(new.values())

    def _symptoms(self, metrics: Mapping[str, float], classes: int) -> dict[str, str]:
        symptoms = {}
        contrast, std, rank = (metrics.get(name) for name in ("view_contrast", "feature_std", "effective_rank"))
        if contrast is not None and contrast < MIN_VIEW_CONTRAST:
            symptoms["views"] = (
                f"views of different images are all alike (contrast {contrast:.2g}), so there is nothing to learn: "
                "check the views' options; crops may be too small or jitter too strong"
            )
        remedy = "lower the learning rate, lengthen the warm-up, or check the loss's temperature"
        if std is not None and not std >= MIN_FEATURE_STD:
            symptoms["feature_std"] = f"features of different images are the same (feature std {std:.2g}): {remedy}"
        elif rank is not None and not rank >= self.untrained_rank**MIN_ENTROPY_KEPT:
            symptoms["effective_rank"] = (
                f"features of different images differ in few directions (effective rank {rank:.3g}, before training "
                f"{self.untrained_rank:.3g}): {remedy}"
            )
        if classes > 1 and metrics.get("view_entropy", math.inf) < MIN_ASSIGNMENT_ENTROPY * math.log(classes):
            symptoms["entropy"] = (
                f"nearly all images are in one of {classes} classes "
                f"(entropy {metrics['view_entropy']:.2g} of ln K = {math.log(classes):.2f}): "
                "lower the learning rate, use fewer classes or prototypes, or freeze prototypes for longer"
            )
        return symptoms

    def _stuck_loss(self, loss: float, ln_k: float, step: int) -> dict[str, str]:
        if loss > ln_k + MAX_LOSS_ABOVE_LN_K:
            return {
                "above": f"the loss {loss:.3f} is far above ln K = {ln_k:.3f}, the loss of a uniform guess: "
                "raise the temperature (0.1 is usual), or lower the learning rate"
            }
        relative = loss / ln_k
        near = abs(relative - 1) < STUCK_NEAR_LN_K and abs(relative - self.relative_loss) < STUCK_CHANGE
        if near and step >= STUCK_STEPS:
            return {
                "stuck": f"the loss {loss:.3f} stays at ln K = {ln_k:.3f}, the loss of a uniform guess: "
                "use fewer prototypes, freeze them for longer, a smaller or later queue, softer crops, "
                "a smaller sinkhorn_epsilon (0.03), or a head without BatchNorm"
            }
        return {}
