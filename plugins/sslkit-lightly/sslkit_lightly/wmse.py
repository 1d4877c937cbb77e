"""The W-MSE loss: the distance between the whitened embeddings of two views of an image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightly.loss.wmse_loss import norm_mse_loss
from pydantic import Field
from torch import Tensor

import sslkit


class WMse(sslkit.Loss):
    """W-MSE loss: ``2 - 2 cos`` between the whitened embeddings of two views.

    The images of the global batch are split at random into sub-batches. In each sub-batch and view, embeddings are
    multiplied by the inverse Cholesky factor of their covariance matrix, so that the embeddings of different images
    cannot all become equal. The loss is averaged over pairs of views with at least one global view, and equals
    lightly's ``WMSELoss``. The random sub-batches depend only on the seed and the step. Unlike lightly's loss, this
    loss uses no running statistics outside training.

    Source: Ermolov et al., "Whitening for Self-Supervised Representation Learning", ICML 2021, arXiv 2007.06346,
    section 3.

    Raises:
        sslkit.OptionError: ``w_size`` does not divide the global batch, or is less than twice the embedding's
            dimension.
    """

    api = 2
    needs = frozenset({"embeddings"})
    min_views = 2
    check_context: ClassVar[Mapping[str, Any]] = {"embedding_dim": 4}

    class Options(sslkit.Options):
        w_size: int = Field(256, ge=2, le=1_000_000)
        """Number of images in a sub-batch: at least twice the embedding's dimension; must divide the batch size."""

        w_iter: int = Field(1, ge=1, le=1000)
        """Number of random splits in each step, over which the loss is averaged."""

        eps: float = Field(0.0, ge=0, lt=1)
        """Share of the identity matrix in the covariance matrix; increase it if a covariance matrix is singular."""

    @classmethod
    def check_options(cls, folder: Path) -> Mapping[str, Any]:
        return {"w_size": 8}

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        if context.batch_size % options.w_size:
            raise sslkit.OptionError(
                "w_size", f"{options.w_size} must divide the batch size, which is {context.batch_size}"
            )
        if options.w_size < 2 * context.embedding_dim:
            raise sslkit.OptionError(
                "w_size", f"{options.w_size} is less than twice the embedding's dimension {context.embedding_dim}"
            )
        self.options = options
        self.world = context.world
        self.seed, self.steps_before, self.batch_size = context.seed, context.steps_before, context.batch_size

    def scheduled(self, step: int) -> Mapping[str, Tensor]:
        """Return ``orders``, int64 ``[w_iter, N]``: ``w_iter`` random orders of the N images of the global batch.

        Each order splits the batch into sub-batches of ``w_size`` consecutive images.
        """
        generator = sslkit.seeded_generator(self.seed, "losses", self.steps_before + step)
        orders = [torch.randperm(self.batch_size, generator=generator) for _ in range(self.options.w_iter)]
        return {"orders": torch.stack(orders)}

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """Return the loss of the global batch; for shapes see ``sslkit.ViewOutputs``."""
        embeddings = torch.stack([self.world.gather(embedding) for embedding in views.student.embeddings])
        pairs = [(i, j) for i, j in views.pairs() if i < j]
        losses = []
        for order in views.scheduled["orders"]:
            whitened = self.whiten(embeddings.index_select(1, order))
            losses += [norm_mse_loss(whitened[i], whitened[j]) for i, j in pairs]
        return sslkit.LossOutput(torch.stack(losses).mean())

    def whiten(self, embeddings: Tensor) -> Tensor:
        """Whiten embeddings ``[V, N, E]``: in each view and sub-batch, their covariance becomes the identity matrix."""
        batches = embeddings.unflatten(1, (-1, self.options.w_size))
        centred = batches - batches.mean(2, keepdim=True)
        covariance = centred.mT @ centred / (self.options.w_size - 1)
        eye = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
        # cholesky_ex, because cholesky reads its error code from the device in every step.
        factor, _ = torch.linalg.cholesky_ex((1 - self.options.eps) * covariance + self.options.eps * eye)
        whitened: Tensor = torch.linalg.solve_triangular(factor, centred.mT, upper=False).mT
        return whitened.flatten(1, 2)
