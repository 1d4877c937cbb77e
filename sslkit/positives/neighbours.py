"""Positives that are nearest neighbours in the feature space of the backbone's initial weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from sslkit.contracts import options
from sslkit.contracts.positives import Positives
from sslkit.errors import InputError
from sslkit.features.neighbours import mutual, nearest_neighbours


class Neighbours(Positives):
    """Rule that draws a new positive for each image at every step, from the image's k nearest neighbours.

    Neighbours are the images whose features have the largest cosine similarity; labels are not used. sslkit finds the
    neighbours once, with the run's initial weights.

    Source: Van Gansbeke et al., "SCAN: Learning to Classify Images without Labels", ECCV 2020, arXiv 2005.12320,
    section 2.1.
    """

    api = 2
    needs_features = True
    count = 1

    class Options(options.Options):
        k: int = Field(20, ge=1, le=10_000)
        """Number of nearest neighbours of each image among which its positive is drawn."""

        mutual: bool = False
        """Draw only among neighbours that have the image among their own k neighbours. An image without such neighbours
        is its own positive."""

        exclude_similarity: float | None = Field(None, gt=0, le=1)
        """Leave out near-duplicates: images with at least this cosine similarity, such as 0.98."""

    options: Options

    def prepare(self, features: Tensor) -> dict[str, Tensor]:
        """Return the neighbours of each image, computed once for the whole training run.

        A neighbour is valid if the options ``mutual`` and ``exclude_similarity`` allow it as a positive.

        Returns:
            ``neighbours``: int32 indices ``[N, k]``, valid neighbours first. ``count``: int32 ``[N]``, number of valid
            neighbours of each image.

        Raises:
            InputError: there are k images or fewer.
        """
        k = self.options.k
        if len(features) <= k:
            raise InputError(f"positives.k = {k} needs more than {k} training images, but there are {len(features)}")
        index, similarity = nearest_neighbours(features, k, exclude_similarity=self.options.exclude_similarity)
        valid = similarity.isfinite()
        if self.options.mutual:
            valid &= mutual(index)
        order = valid.int().argsort(dim=1, descending=True, stable=True)
        return {"neighbours": index.gather(1, order).int(), "count": valid.sum(1).int()}

    def draw(self, prepared: Mapping[str, Tensor], index: Tensor, generator: torch.Generator) -> Tensor:
        """Return the index of a random valid neighbour of each image, or of the image itself if it has none.

        Returns:
            int64 tensor ``[B, 1]``.
        """
        count = prepared["count"][index].long()
        drawn = (torch.rand(len(index), generator=generator) * count).long().minimum(count - 1).clamp(min=0)
        chosen = prepared["neighbours"][index, drawn].long()
        return torch.where(count > 0, chosen, index)[:, None]
