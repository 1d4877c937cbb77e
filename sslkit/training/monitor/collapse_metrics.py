"""Collapse metrics, measured without labels on views of training images."""

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
from sslkit.features.extraction import eval_mode

MAX_IMAGES = 512
"""Number of training images to measure on, evenly spaced."""


def effective_rank(features: Tensor) -> float:
    """Return the number of directions that features ``[N, D]`` use: exp of the entropy of their singular values.

    The result is in [1, min(N, D)]: 1 if all features are multiples of one vector. NaN if any feature is not finite.

    Source: Roy & Vetterli, "The effective rank", EUSIPCO 2007; as a label-free metric RankMe, Garrido et al., ICML
    2023, arXiv 2210.02885, equation 1.
    """
    if not features.isfinite().all():
        return float("nan")
    values = torch.linalg.svdvals(features.double())
    shares = values / values.sum().clamp_min(1e-12) + 1e-7
    return float(torch.special.entr(shares).sum().exp())


def feature_std(features: Tensor) -> float:
    """Return the spread of features ``[N, D]``: 0 if all point the same way, 1 if directions are uniform.

    It is the standard deviation over images of each dimension of the L2-normalised features, averaged over dimensions
    and multiplied by sqrt(D).

    Source: Chen & He, "Exploring Simple Siamese Representation Learning", CVPR 2021, arXiv 2011.10566, section 4.1.
    """
    directions = torch.nn.functional.normalize(features.double(), dim=1)
    return float(directions.std(dim=0).mean() * directions.shape[1] ** 0.5)


@contextmanager
def batch_statistics(*modules: nn.Module) -> Iterator[None]:
    """Let BatchNorm normalise by batch statistics, as in training, and leave its running statistics unchanged.

    In the first epochs running statistics lag behind, and a healthy network would look collapsed.
    """
    norms = [
        layer
        for module in modules
        for layer in module.modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None
    ]
    running = [(layer.running_mean, layer.running_var) for layer in norms]
    for layer in norms:
        # Not by train mode: SyncBatchNorm would wait for processes that do not measure.
        layer.running_mean = layer.running_var = None
    try:
        yield
    finally:
        for layer, (mean, variance) in zip(norms, running, strict=True):
            layer.running_mean, layer.running_var = mean, variance


class CollapseMetrics:
    """Metrics of a network as training sees it, on the first view of some images.

    Views come from a fixed seed; the global random state is not used.

    Args:
        assembly: the assembled recipe.
    """

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        count = min(len(assembly.images), MAX_IMAGES)
        self.indices = evenly_spaced_indices(len(assembly.images), count)

    @torch.no_grad()
    def measure(self, classifier: int | None = None) -> dict[str, float]:
        """Return ``view_contrast`` of the pixels, ``feature_std`` of the features and their ``effective_rank``.

        The rank is of the centred features: networks without normalisation have a large common part, which says nothing
        about images.

        Args:
            classifier: index of a classifier in the run's head, to add ``view_entropy``: the entropy of the images'
                assignments to its classes, in nats. None leaves it out.
        """
        views, backbone = self.assembly.views, self.assembly.method.backbone
        head = self.assembly.method.heads.get(self.assembly.head) if classifier is not None else None
        device = next(backbone.parameters()).device
        images = self.assembly.images.gather(self.indices).to(device)
        drawn = move_parameters(
            views.draw(len(images), seeded_generator(self.assembly.context.seed, "collapse", 0)), device
        )
        first_views = views.apply(images, drawn)[0][0]
        metrics = {"view_contrast": float(first_views.float().std(dim=0).mean())}
        modules = [module for module in (backbone, head) if module is not None]
        with eval_mode(*modules), batch_statistics(*modules):
            features = backbone(first_views.float()).float()
            metrics["feature_std"] = feature_std(features.cpu())
            metrics["effective_rank"] = effective_rank((features - features.mean(dim=0)).cpu())
            if head is not None and head.classifiers:
                assigned = head(features).logits[classifier or 0].argmax(dim=1)
                metrics["view_entropy"] = assignment_entropy(assigned.cpu())
        return metrics
