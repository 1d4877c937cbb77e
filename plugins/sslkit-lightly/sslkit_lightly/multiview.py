"""Losses that compare all views of an image at once, and spread apart the embeddings of different images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from lightly.loss import SIGReg
from lightly.loss.emp_ssl_loss import invariance_loss, tcr_loss
from lightly.loss.lejepa_loss import lejepa_invariance_loss
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

import sslkit


class MultiViewLoss(sslkit.Loss):
    """Base class for losses that are the sum of an invariance term and a spread term over the global batch.

    The invariance term is low if the views of an image have similar embeddings. The spread term is low if different
    images have different embeddings.
    """

    api = 2
    needs = frozenset({"embeddings"})
    min_views = 2

    def __init__(self, options: sslkit.Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.world = context.world

    @abstractmethod
    def terms(self, embeddings: Tensor, views: sslkit.ViewOutputs) -> tuple[Tensor, Tensor]:
        """Return the invariance term and the spread term, each times its weight in the loss.

        Args:
            embeddings: tensor ``[V, N, E]``, the embeddings of the global batch.
            views: the input of the loss, with the number of global views and the step.
        """

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """Return the loss of the global batch; for shapes see ``sslkit.ViewOutputs``."""
        embeddings = torch.stack([self.world.gather(embedding) for embedding in views.student.embeddings])
        invariance, spread = self.terms(embeddings, views)
        return sslkit.LossOutput(invariance + spread, {"invariance": invariance.detach(), "spread": spread.detach()})


class EmpSsl(MultiViewLoss):
    """EMP-SSL loss: aligns the views of an image with their mean, and maximises the coding rate of each view.

    The loss is ``-inv_coef cos(z, mean of views) - 1/2 logdet(I + E / (N tcr_eps) Z^T Z)``, averaged over images and
    views. ``z`` is the embedding of an image, and ``Z`` ``[N, E]`` are the embeddings of all images in a view, all of
    length 1. The terms are lightly's ``invariance_loss`` and ``tcr_loss``. The coding rate is subtracted, as in the
    authors' code. lightly's ``EMPSSLLoss`` (1.6.0) adds it, and is lowest if all embeddings are equal. The loss is
    negative.

    Source: Tong, Chen, Ma, LeCun, "EMP-SSL: Towards Self-Supervised Learning in One Training Epoch", arXiv 2304.03977.
    """

    class Options(sslkit.Options):
        tcr_eps: float = Field(0.2, gt=0)
        """Distortion of the coding rate, epsilon squared in the paper."""

        inv_coef: float = Field(200.0, ge=0)
        """Weight of the similarity between each view and the mean of all views (lambda in the paper)."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.options = options

    def terms(self, embeddings: Tensor, views: sslkit.ViewOutputs) -> tuple[Tensor, Tensor]:
        unit = normalize(embeddings, dim=2)
        return self.options.inv_coef * invariance_loss(unit), -tcr_loss(unit, self.options.tcr_eps)


class FroSsl(MultiViewLoss):
    """FroSSL loss: makes views similar, and minimises the Frobenius norm of each view's covariance matrix.

    The loss equals lightly's ``FroSSLLoss``, but does not read the trace from the device in every step. Embedding
    dimensions are normalised over the batch. The covariance matrix of a view is divided by its trace, so a small norm
    means equal eigenvalues. The loss is usually negative.

    Source: Skean et al., "FroSSL: Frobenius Norm Minimization for Efficient Multiview Self-Supervised Learning", ECCV
    2024, arXiv 2310.02903.
    """

    class Options(sslkit.Options):
        invariance_weight: float = Field(1.0, ge=0)
        """Weight of the squared distances between the views and their mean."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.invariance_weight = options.invariance_weight

    def terms(self, embeddings: Tensor, views: sslkit.ViewOutputs) -> tuple[Tensor, Tensor]:
        unit = normalize(embeddings, dim=1)
        count, images, _ = unit.shape
        invariance = count * (unit - unit.mean(0)).square().sum() / images
        # The Gram matrix of images has the same non-zero eigenvalues as that of dimensions; the smaller one is faster.
        wide = unit if images <= unit.shape[2] else unit.transpose(1, 2)
        norms = (wide @ wide.transpose(1, 2)).square().sum((1, 2)).log()
        # As in lightly, the trace has no gradient.
        traces = unit.detach().square().sum((1, 2)).log()
        return self.invariance_weight * invariance, (norms - 2 * traces).sum()


class SigRegAlongDirections(SIGReg):  # type: ignore[misc]  # lightly has no types
    """lightly's ``SIGReg`` with given random directions, unit vectors ``[E, num_vectors]``.

    lightly draws from torch's global generator, so directions would differ between processes and after resuming.
    """

    def forward(self, embeddings: Tensor, directions: Tensor) -> Tensor:
        """Return the loss of embeddings ``[V, N, E]`` of V views of N images, for directions ``[E, num_vectors]``."""
        self.directions = directions
        result: Tensor = super().forward(embeddings)
        return result

    def _generate_unit_vectors(self, device: torch.device, dtype: torch.dtype, num_features: int) -> Tensor:
        return self.directions


class LeJepa(MultiViewLoss):
    """LeJEPA loss: moves all views towards the mean of the global views, and makes embeddings normally distributed.

    The loss is ``lambda_param SIGReg + (1 - lambda_param) invariance``, as in lightly's ``LeJEPALoss``. SIGReg compares
    projections of the embeddings onto random directions with a standard normal distribution. ``invariance`` is the mean
    squared difference between each view's embedding and the mean embedding of the image's global views. Local
    views are optional, unlike in lightly. Every step uses new directions, which are the same in all processes.

    Source: Balestriero, LeCun, "LeJEPA", arXiv 2511.08544.
    """

    class Options(sslkit.Options):
        lambda_param: float = Field(0.05, ge=0, le=1)
        """Weight of SIGReg; the paper tries 0.01 to 0.1."""

        sigreg_knots: int = Field(17, ge=2, le=1000)
        """Number of frequencies at which characteristic functions are compared."""

        sigreg_t_max: float = Field(3.0, gt=0)
        """Largest frequency."""

        sigreg_num_vectors: int = Field(1024, ge=1, le=1_000_000)
        """Number of random directions in each step."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.weight = options.lambda_param
        self.sigreg = SigRegAlongDirections(
            knots=options.sigreg_knots, t_max=options.sigreg_t_max, num_vectors=options.sigreg_num_vectors
        )
        self.shape = context.embedding_dim, options.sigreg_num_vectors
        self.seed, self.steps_before = context.seed, context.steps_before

    def scheduled(self, step: int) -> Mapping[str, Tensor]:
        """Return the random directions, unit vectors ``[E, sigreg_num_vectors]``."""
        generator = sslkit.seeded_generator(self.seed, "losses", self.steps_before + step)
        return {"directions": normalize(torch.randn(self.shape, generator=generator), dim=0)}

    def terms(self, embeddings: Tensor, views: sslkit.ViewOutputs) -> tuple[Tensor, Tensor]:
        invariance = lejepa_invariance_loss(all_proj=embeddings, global_proj=embeddings[: views.global_views])
        return (1 - self.weight) * invariance, self.weight * self.sigreg(embeddings, views.scheduled["directions"])
