"""The DeepCluster v2 loss: each view predicts its image's k-means cluster, from the embeddings of the previous epoch.

Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", NeurIPS 2020, arXiv
2006.09882, appendix, and the authors' published code.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

import sslkit
from sslkit_discovery.offline_clustering.label_cross_entropy import label_cross_entropy
from sslkit_discovery.offline_clustering.spherical_kmeans import spherical_kmeans
from sslkit_discovery.offline_clustering.stored_embeddings import StoredEmbeddings
from sslkit_discovery.stored_labels import StoredLabels

MOST_STORED_VIEWS = 2
"""Largest number of global views whose embeddings are clustered, as in the authors' code."""

Prototypes = Annotated[int, Field(ge=2, le=10_000_000)]


class DeepClusterV2(sslkit.Loss):
    """Cross-entropy between each view's prediction and its image's cluster, for several sets of prototypes.

    The loss stores the embeddings of the first two global views of each training image. At the start of every epoch,
    spherical k-means clusters the stored embeddings once for each set of prototypes. The sets use the stored views in
    turn. Each k-means starts from random stored embeddings. The centroids become the prototypes, and the cluster of an
    image is its label for the epoch. Gradients do not train prototypes.

    The loss of a set is the cross-entropy between the label and ``softmax(cosines with the prototypes / temperature)``,
    averaged over images and over all views. The total is the mean over sets. Embeddings are normalised to length 1.

    Deviations from the authors' code:

    * before the first epoch, the stored embeddings are those of the unaugmented images, in eval mode; the authors
      encode augmented images;
    * images that an epoch leaves out keep their older embeddings and get labels; the authors ignore these images;
    * a set with K prototypes is a buffer of the loss, not a layer of the head.

    Terms, each averaged over sets: ``used_prototypes``, the fraction of the prototypes to which images are assigned;
    ``largest_cluster``, the fraction of the images in the largest cluster. A ``largest_cluster`` near 1 means collapse.

    Raises:
        sslkit.InputError: the number of training images is not known.
        sslkit.OptionError: there are more prototypes than training images.
    """

    api = 2
    needs = frozenset({"embeddings"})
    needs_initial_outputs = True

    class Options(sslkit.Options):
        prototypes: tuple[Prototypes, ...] = Field((3000, 3000, 3000), min_length=1)
        """Number of prototypes in each set, such as [300, 300, 300]."""

        temperature: float = Field(0.1, gt=0)
        """Temperature of the softmax over prototypes."""

        kmeans_iterations: int = Field(10, ge=1, le=1000)
        """Number of iterations of k-means at the start of each epoch."""

    @classmethod
    def check_options(cls, folder: Path) -> Mapping[str, Any]:
        return {"prototypes": [5, 4, 3]}

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        images = context.training_images
        if not images:
            raise sslkit.InputError("the deepcluster-v2 loss stores a label for each image, but their number is 0")
        if max(options.prototypes) > images:
            raise sslkit.OptionError(
                "prototypes", f"{max(options.prototypes)} is more than the number of training images, {images}"
            )
        self.options = options
        self.world = context.world
        self.steps_per_epoch = context.steps_per_epoch
        self.seed, self.steps_before = context.seed, context.steps_before
        stored_views = min(MOST_STORED_VIEWS, context.global_view_count, len(options.prototypes))
        self.embeddings = StoredEmbeddings(stored_views, images, context.embedding_dim, context.world)
        self.labels = nn.ModuleList(StoredLabels(1, count, images, context.world) for count in options.prototypes)
        for number, count in enumerate(options.prototypes):
            self.register_buffer(f"prototypes_{number}", torch.zeros(count, context.embedding_dim))

    def prepare(self, outputs: sslkit.BranchOutputs) -> None:
        """Store the initial embeddings of all images, which are clustered before the first epoch."""
        self.embeddings.set_all(normalize(outputs.embeddings[0]))

    def phase(self, step: int) -> Hashable:
        """Return whether the step starts with k-means, as the first step of each epoch does."""
        return step % self.steps_per_epoch == 0

    def scheduled(self, step: int) -> Mapping[str, Tensor]:
        """Return the indices of the images whose embeddings k-means starts from; zeros in steps without k-means."""
        return {f"start_{number}": self._start(number, step) for number in range(len(self.options.prototypes))}

    def _start(self, number: int, step: int) -> Tensor:
        count = self.options.prototypes[number]
        if not self.phase(step):
            return torch.zeros(count, dtype=torch.int64)
        generator = sslkit.seeded_generator(self.seed, "losses", self.steps_before + step, number)
        return torch.randperm(self.embeddings.rows.shape[1], generator=generator)[:count]

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """Return the loss of this process's part of the batch; for shapes see ``sslkit.ViewOutputs``."""
        embeddings = normalize(torch.stack(views.student.embeddings), dim=2)
        losses, used, largest = [], [], []
        for number, labels in enumerate(self.labels):
            assert isinstance(labels, StoredLabels)
            if self.training and self.phase(views.step):
                self._cluster(number, labels, views.scheduled[f"start_{number}"])
            logits = embeddings @ self.get_buffer(f"prototypes_{number}").to(embeddings.dtype).T
            label = labels.stored(views.index)
            losses.append(label_cross_entropy(logits[None] / self.options.temperature, label, self.world)[0])
            used.append((labels.sizes > 0).to(embeddings.dtype).mean())
            largest.append((labels.sizes.amax() / labels.labels.shape[1]).to(embeddings.dtype))
        if self.training:
            self.embeddings.update(embeddings[: len(self.embeddings.rows)], views.index)
        terms = {"used_prototypes": torch.stack(used).mean(), "largest_cluster": torch.stack(largest).mean()}
        return sslkit.LossOutput(torch.stack(losses).mean(), terms)

    @torch.no_grad()
    def _cluster(self, number: int, labels: StoredLabels, start: Tensor) -> None:
        """Run k-means for the prototypes with index ``number``, and store the centroids and the images' clusters.

        The initial centroids are the embeddings of the images with the indices ``start`` ``[K]``.
        """
        rows = self.embeddings.rows[number % len(self.embeddings.rows)]
        centroids, nearest = spherical_kmeans(rows, rows[start], self.options.kmeans_iterations)
        self.get_buffer(f"prototypes_{number}").copy_(centroids)
        labels.set_all(torch.where(rows.any(1), nearest, -1)[None])
