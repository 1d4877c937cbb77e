"""The TiCo loss: makes views similar, and penalises embeddings in the main directions of past embeddings."""

from __future__ import annotations

import torch
from lightly.loss import TiCoLoss
from pydantic import Field

import sslkit


class TiCo(sslkit.Loss):
    """lightly's ``TiCoLoss``, with a covariance matrix that is saved in checkpoints.

    The loss is ``1 - cos`` between the student's embedding of one view and the teacher's embedding of another,
    global view, plus ``rho`` times ``z^T C z`` for the student's unit embedding z. C is the moving average of ``z z^T``
    over the images of the global batch. Both terms are averaged over all such pairs of views; the paper uses one pair.

    Source: Zhu et al., "TiCo: Transformation Invariance and Covariance Contrast for Self-Supervised Visual
    Representation Learning", arXiv 2206.10698.
    """

    api = 2
    needs = frozenset({"embeddings", "teacher"})
    min_views = 2

    class Options(sslkit.Options):
        beta: float = Field(0.9, ge=0, lt=1)
        """Momentum of the covariance matrix."""

        rho: float = Field(8.0, ge=0)
        """Weight of the covariance term."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.world = context.world
        self.loss = TiCoLoss(beta=options.beta, rho=options.rho)
        del self.loss.C  # a plain attribute in lightly, which a checkpoint would lose
        self.loss.register_buffer("C", torch.zeros(context.embedding_dim, context.embedding_dim))

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """Return the loss of the global batch; for shapes see ``sslkit.ViewOutputs``."""
        pairs = [
            (student, teacher)
            for i, teacher in enumerate(views.teacher.embeddings)
            for j, student in enumerate(views.student.embeddings)
            if i != j
        ]
        students, teachers = (self.world.gather(torch.cat(side)) for side in zip(*pairs, strict=True))
        covariance = self.loss.C
        total = self.loss(students, teachers.detach(), update_covariance_matrix=self.training)
        if self.training:
            # lightly replaces the tensor; the buffer must keep its memory.
            covariance.copy_(self.loss.C)
            self.loss.C = covariance
        return sslkit.LossOutput(total)
