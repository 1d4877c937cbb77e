"""Each loss discovers the classes of separate groups of features, with several seeds and without labels."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn.functional import normalize

import sslkit
from sslkit_discovery.ruc import Ruc
from sslkit_discovery.scan import Scan
from sslkit_discovery.secu import SeCu
from sslkit_discovery.self_label import SelfLabel
from sslkit_discovery.temi import Temi

CLASSES, IMAGES, BATCH, FEATURES = 5, 500, 100, 16
LOSSES: dict[str, type[sslkit.Loss]] = {"scan": Scan, "temi": Temi, "secu": SeCu}


class Head(nn.Module):
    """Linear embedding of length 1 with cosine classifiers."""

    def __init__(self, classifiers: int = 3) -> None:
        super().__init__()
        self.embed = nn.Linear(FEATURES, 8)
        self.weights = nn.ParameterList(torch.randn(CLASSES, 8) for _ in range(classifiers))

    def classify(self, embedding: Tensor) -> tuple[Tensor, ...]:
        return tuple(embedding @ normalize(weight).T for weight in self.weights)

    def outputs(self, views: list[Tensor], index: Tensor) -> sslkit.ViewOutputs:
        embeddings = tuple(normalize(self.embed(view)) for view in views)
        logits = tuple(zip(*map(self.classify, embeddings), strict=True))
        return sslkit.ViewOutputs(
            {"student": sslkit.BranchOutputs(tuple(views), embeddings, logits, self.classify)}, 2, index
        )


def groups(seed: int) -> tuple[Tensor, Tensor]:
    """Return features ``[IMAGES, FEATURES]`` around one random centre for each class, and the classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(IMAGES) % CLASSES
    centres = torch.randn(CLASSES, FEATURES, generator=generator)
    return centres[labels] + 0.4 * torch.randn(IMAGES, FEATURES, generator=generator), labels


def train(head: Head, loss: sslkit.Loss, features: Tensor, noise: tuple[float, float], epochs: int, seed: int) -> int:
    """Train the head on two noisy views of each feature; return the index of the classifier with the lowest loss."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam([*head.parameters(), *loss.parameters()], 0.01)
    lowest = torch.zeros(len(head.weights))
    for epoch in range(epochs):
        for index in torch.randperm(IMAGES, generator=generator).split(BATCH):
            views = [features[index] + scale * torch.randn(BATCH, FEATURES, generator=generator) for scale in noise]
            output = loss(head.outputs(views, index))
            optimizer.zero_grad()
            output.total.backward()
            optimizer.step()
            if epoch == epochs - 1:
                lowest += torch.stack(output.per_classifier)
    return int(lowest.argmin())


@torch.no_grad()
def accuracy(head: Head, classifier: int, features: Tensor, labels: Tensor) -> float:
    """Return the accuracy with the best one-to-one match of discovered and true classes."""
    predicted = head.classify(normalize(head.embed(features)))[classifier].argmax(1)
    counts = torch.zeros(CLASSES, CLASSES)
    counts.index_put_((predicted, labels), torch.ones(IMAGES), accumulate=True)
    rows, columns = linear_sum_assignment(-counts.numpy())
    return float(counts[rows, columns].sum()) / IMAGES


def make_loss(loss_class: type[sslkit.Loss], **options: float) -> sslkit.Loss:
    context = sslkit.Context(
        1, 8, (0.5,), (0.5,), BATCH, IMAGES // BATCH, 1, view_count=2, global_view_count=2, embedding_dim=8,
        classifiers=(CLASSES,) * 3, training_images=IMAGES, feature_dim=FEATURES,
    )  # fmt: skip
    return loss_class(loss_class.Options(**options), context)


def mean_over_seeds(measure: Callable[[int], float]) -> float:
    return sum(map(measure, range(3))) / 3


@pytest.mark.parametrize("name", LOSSES)
def test_discovers_classes(name: str) -> None:
    def measure(seed: int) -> float:
        features, labels = groups(seed)
        torch.manual_seed(seed)
        head = Head()
        before = accuracy(head, 0, features, labels)
        best = train(head, make_loss(LOSSES[name]), features, (0.3, 0.3), 40, seed)
        after = accuracy(head, best, features, labels)
        assert before < 0.8
        return after

    assert mean_over_seeds(measure) > 0.95


def test_self_labelling_improves_a_classifier() -> None:
    """The classifier is trained for a few steps; self-labelling then fits the images that it is unsure about."""
    gains = []
    for seed in range(3):
        features, labels = groups(seed)
        features = features + 0.4 * torch.randn(features.shape, generator=torch.Generator().manual_seed(seed))
        torch.manual_seed(seed)
        head = Head()
        best = train(head, make_loss(Scan), features, (0.3, 0.3), 4, seed)
        before = accuracy(head, best, features, labels)
        loss = make_loss(SelfLabel, threshold=0.9)
        train(head, loss, features, (0.0, 0.6), 30, seed)
        gains.append((before, accuracy(head, best, features, labels)))
        assert loss.get_buffer(f"shares.shares_{CLASSES}")[best].min().item() * CLASSES > 0.5, "a class vanishes"
    assert all(after >= before for before, after in gains)


def test_ruc_corrects_wrong_pseudo_labels() -> None:
    """The classifiers are trained for a few steps, so that some of their pseudo-labels are wrong."""
    gains = []
    for seed in range(3):
        features, labels = groups(seed)
        features = features + 0.4 * torch.randn(features.shape, generator=torch.Generator().manual_seed(seed))
        torch.manual_seed(seed)
        head = Head()
        best = train(head, make_loss(Scan), features, (0.3, 0.3), 4, seed)
        before = accuracy(head, best, features, labels)
        loss = make_loss(Ruc, selection="neighbours", neighbours=20, promotion_threshold=0.9)
        with torch.no_grad():
            loss.prepare(head.outputs([features], torch.arange(IMAGES)).student)
        clean = loss.get_buffer("labels.0.sizes")[best].sum().item()
        train(head, loss, features, (0.0, 0.6), 20, seed)
        gains.append((before, accuracy(head, best, features, labels)))
        assert before < 0.99
        assert loss.get_buffer("labels.0.sizes")[best].sum().item() >= clean
    assert all(after > before for before, after in gains)
    assert all(after > 0.99 for _, after in gains)
