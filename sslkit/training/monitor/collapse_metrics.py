"""CollapseMetrics of collapse, measured without labels on views of training images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sslkit.assembly.assemble import Assembly
from sslkit.contracts.views import move_parameters
from sslkit.data.seeds import generator
from sslkit.evaluation.clustering_metrics import assignment_entropy
from sslkit.trained.extract import frozen

IMAGES = 512
"""Images that the signs are measured on, spread over all."""


def effective_rank(features: Tensor) -> float:
    """How many directions features ``[N, D]`` really use: the exponential of the entropy of their singular values.

    Between 1, where all are multiples of one, and min(N, D).  NaN where they are not finite.

    Source: Roy & Vetterli, "The effective rank", EUSIPCO 2007; as a figure of merit without labels RankMe, Garrido et
    al., ICML 2023, arXiv 2210.02885, equation 1.
    """
    if not features.isfinite().all():
        return float("nan")
    values = torch.linalg.svdvals(features.double())
    shares = values / values.sum().clamp_min(1e-12) + 1e-7
    return float(torch.special.entr(shares).sum().exp())


def spread(features: Tensor) -> float:
    """How different features ``[N, D]`` are: 0 where all point the same way, 1 where directions are even.

    The standard deviation over images of each dimension of the features, scaled to length 1, times the root of D.

    Source: Chen & He, "Exploring Simple Siamese Representation Learning", CVPR 2021, arXiv 2011.10566, section 4.1.
    """
    directions = torch.nn.functional.normalize(features.double(), dim=1)
    return float(directions.std(dim=0).mean() * directions.shape[1] ** 0.5)


@contextmanager
def batch_statistics(*modules: nn.Module) -> Iterator[None]:
    """BatchNorm normalises by what it sees, as in training, and keeps its statistics as they are.

    These lag behind in the first epochs, and a network that tells images apart then seems not to.
    """
    norms = [
        layer
        for module in modules
        for layer in module.modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None
    ]
    kept = [(layer.running_mean, layer.running_var) for layer in norms]
    for layer in norms:
        # In eval mode all the same: in training, one that synchronises would wait for processes that measure nothing.
        layer.running_mean = layer.running_var = None
    try:
        yield
    finally:
        for layer, (mean, variance) in zip(norms, kept, strict=True):
            layer.running_mean, layer.running_var = mean, variance


class CollapseMetrics:
    """Measures a network as training sees it, on the first view of some images; draws from no global random state.

    Args:
        assembly: what is trained.
    """

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        count = min(len(assembly.images), IMAGES)
        self.places = torch.linspace(0, len(assembly.images) - 1, count, dtype=torch.float64).round().long()

    @torch.no_grad()
    def measure(self, classifier: int | None = None) -> dict[str, float]:
        """``view_contrast`` of the pixels, ``spread`` of the features, ``rank`` of their differences from the mean.

        What features have in common says nothing of images: networks without normalisation have much of it, and tell
        images apart by the rest.

        Args:
            classifier: place of a classifier in the run's head: then also ``view_entropy``, that of the images'
                assignments to its classes, in nats.
        """
        views, backbone = self.assembly.views, self.assembly.method.backbone
        head = self.assembly.method.heads.get(self.assembly.head) if classifier is not None else None
        device = next(backbone.parameters()).device
        images = self.assembly.images.gather(self.places).to(device)
        drawn = move_parameters(views.draw(len(images), generator(self.assembly.context.seed, "signs", 0)), device)
        seen = views.apply(images, drawn)[0][0]
        figures = {"view_contrast": float(seen.float().std(dim=0).mean())}
        modules = [module for module in (backbone, head) if module is not None]
        with frozen(*modules), batch_statistics(*modules):
            features = backbone(seen.float()).float()
            figures["spread"] = spread(features.cpu())
            figures["rank"] = effective_rank((features - features.mean(dim=0)).cpu())
            if head is not None and head.classifiers:
                assigned = head(features).logits[classifier or 0].argmax(dim=1)
                figures["view_entropy"] = assignment_entropy(assigned.cpu())
        return figures
