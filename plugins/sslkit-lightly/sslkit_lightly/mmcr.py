"""The MMCR loss, which maximises the nuclear norm of the matrix of all images' mean embeddings."""

from __future__ import annotations

import torch
from pydantic import Field
from torch.linalg import svdvals
from torch.nn.functional import normalize

import sslkit


class Mmcr(sslkit.Loss):
    """MMCR loss: the negative nuclear norm (sum of singular values) of the matrix of all images' mean embeddings.

    The mean embedding of an image is taken over all views of the student and all global views of the teacher. The
    nuclear norm is large if an image's views have equal embeddings and the means of different images are orthogonal. A
    second term is ``lmda`` times the nuclear norm of the matrix of an image's embeddings, averaged over images. The
    loss equals lightly's ``MMCRLoss`` on embeddings of length 1; lightly leaves this normalisation, which the paper
    requires, to the caller. With a small ``lmda``, the loss is negative.

    The singular value decomposition syncs the device in every step.

    Source: Yerxa et al., "Learning Efficient Coding of Natural Images with Maximum Manifold Capacity Representations",
    NeurIPS 2023, arXiv 2303.03307.
    """

    api = 2
    needs = frozenset({"embeddings", "teacher"})
    min_views = 2
    syncs_device = True

    class Options(sslkit.Options):
        lmda: float = Field(5e-3, ge=0)
        """Weight of the nuclear norm of the views of each image (lambda in the paper); lightly's default."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.lmda = options.lmda
        self.world = context.world

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """Return the loss of the global batch; for shapes see ``sslkit.ViewOutputs``."""
        embeddings = [*views.student.embeddings, *(embedding.detach() for embedding in views.teacher.embeddings)]
        unit = normalize(torch.stack(embeddings, dim=1), dim=2)
        total = -svdvals(self.world.gather(unit.mean(1))).sum()
        if self.lmda:
            total = total + self.lmda * svdvals(unit).sum() / len(unit)
        return sslkit.LossOutput(total)
