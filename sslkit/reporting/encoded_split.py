"""What a report shows of a finished run's images: the split, its features, and the classes discovered in it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sslkit.contracts.dataset import Split
from sslkit.evaluation.discovered import Discovered
from sslkit.evaluation.subject import RunSubject
from sslkit.reporting.escape import visible
from sslkit.runs.run import Run

MAP_IMAGES = 2000
"""Images that the map of features shows at most."""

QUERIES = 12
"""Images whose nearest neighbours are shown."""

NEIGHBOURS = 8


@dataclass(frozen=True)
class Findings:
    """Images and what the run makes of them.

    Attributes:
        name: the split, ``test`` where there is one, else ``train``.
        split: its images, with labels where there are any.
        features: ``[N, D]`` float32.
        class_names: names of the labels, in their order; as many as there are labels.
        discovered: its classes; None where the run has no classifier.
        notes: what is installed otherwise than when the run was trained.
        seed: the run's seed.
    """

    name: str
    split: Split
    features: Tensor
    class_names: tuple[str, ...]
    discovered: Discovered | None
    notes: tuple[str, ...]
    seed: int

    def describe(self, place: int) -> str:
        """One image in words: its class, its label, its file."""
        parts = []
        if self.discovered is not None:
            confidence = float(self.discovered.confidence[place])
            parts.append(f"class {int(self.discovered.assigned[place])}, confidence {confidence:.2f}")
        if self.split.labels is not None:
            parts.append(f"label {visible(self.class_names[int(self.split.labels[place])])}")
        parts.append(visible(self.split.files[place]) if self.split.files else f"{self.name} image {place}")
        return ", ".join(parts)

    def sample(self, most: int) -> Tensor:
        """Sorted int64 places of all images, or of so many drawn at random."""
        count = len(self.split.images)
        if count <= most:
            return torch.arange(count)
        return torch.randperm(count, generator=torch.Generator().manual_seed(self.seed))[:most].sort().values

    def projection(self) -> tuple[Tensor, float]:
        """Unit features on their two principal components ``[N, 2]``, and the share of the variance these hold."""
        from sklearn.decomposition import PCA

        points = normalize(self.features, dim=1).numpy()
        if min(points.shape) < 2:
            return torch.zeros(len(points), 2), 0.0
        fitted = PCA(2, svd_solver="covariance_eigh").fit(points)
        return torch.from_numpy(fitted.transform(points)).float(), float(fitted.explained_variance_ratio_.sum())

    def neighbours(self) -> list[tuple[int, list[int]]]:
        """A few images, and those whose features are nearest to each by cosine, nearest first.

        The images are the middle ones of the largest classes by confidence; without classes, evenly spread.
        """
        if self.discovered is not None:
            sizes = self.discovered.sizes
            largest = sizes.argsort(descending=True, stable=True)[:QUERIES].sort().values.tolist()
            queries = [int(self.discovered.members(place)[sizes[place] // 2]) for place in largest if sizes[place]]
        else:
            spread = torch.linspace(0, len(self.features) - 1, QUERIES, dtype=torch.float64)
            queries = sorted(set(spread.round().long().tolist()))
        unit = normalize(self.features, dim=1)
        closeness = unit[queries] @ unit.T
        closeness[torch.arange(len(queries)), queries] = -torch.inf
        nearest = closeness.topk(min(NEIGHBOURS, len(unit) - 1), dim=1).indices
        return list(zip(queries, nearest.tolist(), strict=True))


def find(run: Run, device: str) -> Findings:
    """Compute what a finished run makes of its test images, or of its training images where there are none.

    Raises:
        SslkitError: the run has not finished, its files are damaged, or its data are not there any more.
    """
    subject = RunSubject(run, device)
    name = "test" if "test" in subject.dataset.splits else "train"
    split = subject.split(name)
    seen = subject.features(name)
    names = subject.class_names
    if split.labels is not None and not names:
        names = tuple(map(str, range(int(split.labels.max()) + 1)))
    discovered = None
    if seen.logits is not None:
        discovered = Discovered.of(seen.logits, split.labels, len(names), subject.temperature)
    return Findings(name, split, seen.features, names, discovered, subject.notes, subject.seed)
