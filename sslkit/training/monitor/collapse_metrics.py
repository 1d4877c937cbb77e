"""Collapse metrics, computed without labels on views of training images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sslkit.assembly.assemble import Assembly
from sslkit.contracts.views import move_parameters
from sslkit.data.seeds import seeded_generator
from sslkit.data.splits import evenly_spaced_indices
from sslkit.evaluation.clustering_metrics import assignment_entropy
from sslkit.features.extraction import device_of, eval_mode

MAX_IMAGES = 512
"""Largest number of training images to use, evenly spaced over the data set."""


def effective_rank(features: Tensor) -> float:
    """Return the effective rank of features ``[N, D]``: exp of the entropy of their normalised singular values.

    The result is in [1, min(N, D)]: 1 if all features are multiples of one vector. If a feature is not finite, the
    result is NaN.

    Source: Roy & Vetterli, "The effective rank", EUSIPCO 2007. Used as a metric without labels in RankMe, Garrido et
    al., ICML 2023, arXiv 2210.02885, equation 1.
    """
    if not features.isfinite().all():
        return float("nan")
    values = torch.linalg.svdvals(features.double())
    shares = values / values.sum().clamp_min(1e-12) + 1e-7
    return float(torch.special.entr(shares).sum().exp())


def feature_std(features: Tensor) -> float:
    """Return the spread of features ``[N, D]``: 0 if all have the same direction, 1 if directions are uniform.

    The features are L2-normalised. The result is the standard deviation over images of each dimension, averaged over
    dimensions and multiplied by sqrt(D).

    Source: Chen & He, "Exploring Simple Siamese Representation Learning", CVPR 2021, arXiv 2011.10566, section 4.1.
    """
    directions = torch.nn.functional.normalize(features.double(), dim=1)
    return float(directions.std(dim=0).mean() * directions.shape[1] ** 0.5)


@contextmanager
def batch_statistics(*modules: nn.Module) -> Iterator[None]:
    """Make BatchNorm normalise with batch statistics, as in training, without changing its running statistics.

    In the first epochs, running statistics are out of date, and a healthy network would appear collapsed.
    """
    norms = [
        layer
        for module in modules
        for layer in module.modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None
    ]
    running = [(layer.running_mean, layer.running_var) for layer in norms]
    for layer in norms:
        # Train mode would not work: SyncBatchNorm would wait for processes that do not measure.
        layer.running_mean = layer.running_var = None
    try:
        yield
    finally:
        for layer, (mean, variance) in zip(norms, running, strict=True):
            layer.running_mean, layer.running_var = mean, variance


class CollapseMetrics:
    """Collapse metrics of a network on the first view of some training images.

    Views are drawn with a fixed seed. The global random state does not change.

    Args:
        assembly: the assembled recipe.
    """

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        count = min(len(assembly.images), MAX_IMAGES)
        self.indices = evenly_spaced_indices(len(assembly.images), count)

    @torch.no_grad()
    def measure(self, classifier: int | None = None) -> dict[str, float]:
        """Return the metrics ``view_contrast`` (of pixels), ``feature_std`` and ``effective_rank`` (of features).

        A frozen backbone has no ``view_contrast``. The mean feature is subtracted before the rank is computed, because
        the mean can be large in networks without normalisation.

        Args:
            classifier: index of a classifier in the run's head. If given, the result also contains ``view_entropy``,
                the entropy of the images' assignments to its classes, in nats.
        """
        backbone = self.assembly.method.backbone
        head = self.assembly.method.heads.get(self.assembly.head) if classifier is not None else None
        device = device_of(self.assembly.method)
        metrics: dict[str, float] = {}
        if self.assembly.frozen is not None:
            inputs = self.assembly.frozen.features(self.assembly.images)[self.indices].to(device)
        else:
            inputs = self._first_views(device)
            metrics["view_contrast"] = float(inputs.std(dim=0).mean())
        modules = [module for module in (backbone, head) if module is not None]
        with eval_mode(*modules), batch_statistics(*modules):
            features = backbone(inputs).float()
            metrics["feature_std"] = feature_std(features.cpu())
            metrics["effective_rank"] = effective_rank((features - features.mean(dim=0)).cpu())
            if head is not None and head.classifiers:
                assigned = head(features).logits[classifier or 0].argmax(dim=1)
                metrics["view_entropy"] = assignment_entropy(assigned.cpu())
        return metrics

    def _first_views(self, device: torch.device) -> Tensor:
        views = self.assembly.views
        images = self.assembly.images.gather(self.indices).to(device)
        drawn = move_parameters(
            views.draw(len(images), seeded_generator(self.assembly.context.seed, "collapse", 0)), device
        )
        return views.apply(images, drawn)[0][0].float()
