"""The DeepCluster v2 loss against the paper's algorithm in loops, k-means, and which embeddings are stored when."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from logit_views import float64_buffers, gradients, logit_context
from torch import Tensor
from torch.nn.functional import normalize

import sslkit
from sslkit_discovery.offline_clustering.deepcluster_v2 import DeepClusterV2
from sslkit_discovery.offline_clustering.spherical_kmeans import spherical_kmeans

IMAGES, BATCH, DIM = 12, 6, 5


def make_loss(prototypes: tuple[int, ...] = (3, 4, 3), facts: dict[str, int] | None = None, **options: float):
    with float64_buffers():
        context = replace(logit_context(), **facts or {})  # two steps of six images per epoch
        return DeepClusterV2(DeepClusterV2.Options(prototypes=prototypes, **options), context)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_views(embeddings: list[Tensor], index: list[int], step: int, global_views: int = 2) -> sslkit.ViewOutputs:
    branch = sslkit.BranchOutputs(tuple(embeddings), tuple(embeddings))
    return sslkit.ViewOutputs({"student": branch}, global_views, torch.tensor(index), step)


def initial(seed: int = 99) -> sslkit.BranchOutputs:
    embeddings = draw(IMAGES, DIM, seed=seed)
    return sslkit.BranchOutputs((embeddings,), (embeddings,))


def unit(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector]


def nearest(vector: list[float], centroids: list[list[float]]) -> int:
    cosines = [sum(a * b for a, b in zip(vector, centroid, strict=True)) for centroid in centroids]
    return cosines.index(max(cosines))


def kmeans(vectors: list[list[float]], centroids: list[list[float]], iterations: int) -> list[list[float]]:
    """Return the centroids after the authors' k-means, one vector after the other."""
    for _ in range(iterations):
        members: dict[int, list[list[float]]] = {}
        for vector in vectors:
            members.setdefault(nearest(vector, centroids), []).append(vector)
        centroids = [
            unit([sum(column) / len(members[k]) for column in zip(*members[k], strict=True)]) if k in members else own
            for k, own in enumerate(centroids)
        ]
    return centroids


class Formula:
    """Algorithm of the authors, image by image."""

    def __init__(self, loss: DeepClusterV2, outputs: sslkit.BranchOutputs, temperature: float, views: int) -> None:
        self.temperature = temperature
        rows = [unit(row) for row in outputs.embeddings[0].tolist()]
        self.memory = [list(rows) for _ in range(views)]
        self.sets = loss.options.prototypes
        self.prototypes: list[list[list[float]]] = []
        self.labels: list[list[int]] = []

    def cluster(self, starts: list[list[int]], iterations: int) -> None:
        self.prototypes, self.labels = [], []
        for number, start in enumerate(starts):
            memory = self.memory[number % len(self.memory)]
            self.prototypes.append(kmeans(memory, [memory[image] for image in start], iterations))
            self.labels.append([nearest(row, self.prototypes[-1]) for row in memory])

    def __call__(self, embeddings: list[Tensor], index: list[int]) -> Tensor:
        losses = []
        for prototypes, labels in zip(self.prototypes, self.labels, strict=True):
            for view in embeddings:
                for row, image in zip(view, index, strict=True):
                    z = row / row.square().sum().sqrt()
                    exponentials = [
                        torch.exp(z @ torch.tensor(p, dtype=torch.float64) / self.temperature) for p in prototypes
                    ]
                    losses.append(-torch.log(exponentials[labels[image]] / sum(exponentials)) / len(self.sets))
        for view, memory in zip(embeddings, self.memory, strict=False):
            for row, image in zip(view.tolist(), index, strict=True):
                memory[image] = unit(row)
        return sum(losses) / (len(embeddings) * len(index))


@pytest.mark.parametrize(("views", "global_views"), [(2, 2), (4, 3), (1, 1)])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_equals_the_algorithm_over_epochs(views: int, global_views: int, temperature: float) -> None:
    """Three epochs of two batches; the second and third cluster the embeddings of the epoch before."""
    assert DeepClusterV2.Options().temperature == 0.1
    facts = {"view_count": views, "global_view_count": global_views}
    loss = make_loss(facts=facts, temperature=temperature, kmeans_iterations=3)
    loss.prepare(initial())
    formula = Formula(loss, initial(), temperature, min(global_views, 2))
    for step in range(6):
        if step % 2 == 0:
            starts = [loss.scheduled(step)[f"start_{number}"].tolist() for number in range(3)]
            assert [len({*start}) for start in starts] == [3, 4, 3]
            formula.cluster(starts, 3)
        embeddings = [draw(BATCH, DIM, seed=10 * step + view).requires_grad_() for view in range(views)]
        index = [2 * image + step % 2 for image in range(BATCH)]
        output = loss(make_views(embeddings, index, step, global_views))
        expected = formula(embeddings, index)
        assert output.total.item() == pytest.approx(expected.item(), abs=1e-10)
        for own, other in zip(gradients(output.total, embeddings), gradients(expected, embeddings), strict=True):
            assert other.abs().max() > 1e-4
            torch.testing.assert_close(own, other, rtol=0, atol=1e-10)
        for number, labels in enumerate(formula.labels):
            assert loss.labels[number].labels[0].tolist() == labels
            sizes = [labels.count(k) for k in range(loss.options.prototypes[number])]
            assert loss.labels[number].sizes[0].tolist() == sizes
        used = [len({*labels}) / count for labels, count in zip(formula.labels, loss.options.prototypes, strict=True)]
        largest = [max(labels.count(k) for k in labels) / IMAGES for labels in formula.labels]
        assert output.terms["used_prototypes"].item() == pytest.approx(sum(used) / 3)
        assert output.terms["largest_cluster"].item() == pytest.approx(sum(largest) / 3)


def test_k_means_starts_from_other_images_in_each_epoch_set_and_continued_run() -> None:
    first, second = make_loss(), make_loss(facts={"steps_before": 2})
    starts = [first.scheduled(0)["start_0"], first.scheduled(2)["start_0"], first.scheduled(0)["start_2"]]
    assert len({tuple(start.tolist()) for start in starts}) == 3
    assert torch.equal(second.scheduled(0)["start_0"], first.scheduled(2)["start_0"])
    assert not any(start.any() for start in first.scheduled(1).values())
    assert [first.phase(step) for step in range(4)] == [True, False, True, False]


def test_k_means_separates_groups_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sslkit_discovery.offline_clustering.spherical_kmeans.ROWS_AT_A_TIME", 7)
    groups = torch.arange(30) % 3
    vectors = normalize(torch.eye(4, dtype=torch.float64)[groups] + 0.1 * draw(30, 4, seed=0))
    start = torch.cat([vectors[:3], -vectors[:1]])  # nothing is near the last centroid, so it does not move
    centroids, labels = spherical_kmeans(vectors, start, 5)
    assert labels.tolist() == groups.tolist()
    means = torch.stack([normalize(vectors[groups == k].mean(0), dim=0) for k in range(3)])
    torch.testing.assert_close(centroids, torch.cat([means, start[3:]]))


def test_images_without_embeddings_are_left_out() -> None:
    """After resuming with other training images, only images that were seen since then have labels."""
    loss = make_loss((2,))
    loss.prepare(initial())
    loss(make_views([draw(BATCH, DIM, seed=0)] * 2, list(range(BATCH)), 0))
    state = copy.deepcopy(loss.state_dict())
    same, more = make_loss((2,)), make_loss((2,), facts={"training_images": 14})
    same.load_state_dict(state)
    more.load_state_dict(state)
    assert torch.equal(same.embeddings.rows, loss.embeddings.rows)
    assert not more.embeddings.rows.any()
    views = [draw(BATCH, DIM, seed=view).requires_grad_() for view in range(2)]
    output = more(make_views(views, list(range(BATCH)), 1))  # no image has a label
    assert output.total.item() == 0
    output.total.backward()
    assert all(view.grad is not None and not view.grad.any() for view in views)
    views = [draw(BATCH, DIM, seed=view).requires_grad_() for view in range(2)]
    output = more(make_views(views, [0, 1, 2, 11, 12, 13], 2))
    assert (more.labels[0].labels[0] >= 0).tolist() == [True] * BATCH + [False] * 8
    half = more(make_views([view[:3] for view in views], [0, 1, 2], 3))
    assert output.total.item() == pytest.approx(half.total.item())


def test_nothing_is_stored_in_eval_mode() -> None:
    loss = make_loss()
    loss.prepare(initial())
    before = copy.deepcopy(loss.state_dict())
    loss.eval()(make_views([draw(BATCH, DIM, seed=0)] * 2, list(range(BATCH)), 0))
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())


def test_invalid_contexts_and_options_raise() -> None:
    with pytest.raises(sslkit.InputError, match="stores a label for each image, but their number is 0"):
        make_loss(facts={"training_images": 0})
    with pytest.raises(sslkit.OptionError, match="prototypes: 13 is more than the number of training images, 12"):
        make_loss((2, 13))
