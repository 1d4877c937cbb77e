"""Clustering metrics, compared with scikit-learn and values computed by hand, and after renaming clusters."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, tensor

from sslkit.evaluation.clustering_metrics import PROTOCOL, assignment_entropy, classes_used, cluster_scores, contingency

SCORES = ("acc", "acc_many_to_one", "nmi", "ami", "ari")


def random_clustering(clusters: int, classes: int, count: int = 400, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    noise = torch.randint(clusters, (count,), generator=generator)
    assigned = torch.where(torch.rand(count, generator=generator) < 0.6, labels % clusters, noise)
    return assigned, labels


def test_contingency_counts_images() -> None:
    table = contingency(tensor([0, 0, 2, 2, 2]), tensor([1, 0, 1, 1, 0]), clusters=4, classes=2)
    assert table.tolist() == [[1, 1], [0, 0], [1, 2], [0, 0]]


def test_perfect_clusters_in_another_order() -> None:
    scores = cluster_scores(tensor([2, 2, 0, 0, 1, 1]), tensor([0, 0, 1, 1, 2, 2]), clusters=3, classes=3)
    assert {name: scores[name] for name in SCORES} == pytest.approx(dict.fromkeys(SCORES, 1.0))
    assert scores["mapping"] == [1, 2, 0]


def test_the_matching_is_optimal_not_greedy() -> None:
    # Class 0 is the majority in both clusters.
    assigned = tensor([0, 0, 0, 0, 0, 1, 1])
    labels = tensor([0, 0, 0, 1, 1, 0, 0])
    scores = cluster_scores(assigned, labels, clusters=2, classes=2)
    assert scores["acc"] == pytest.approx(4 / 7)
    assert scores["acc_many_to_one"] == pytest.approx(5 / 7)
    assert scores["mapping"] == [1, 0]


def test_more_clusters_than_classes() -> None:
    scores = cluster_scores(tensor([0, 0, 0, 1, 2, 2]), tensor([0, 0, 0, 0, 1, 1]), clusters=4, classes=2)
    assert scores["acc"] == pytest.approx(5 / 6)
    assert scores["acc_many_to_one"] == 1.0
    assert scores["mapping"] == [0, None, 1, None]


def test_fewer_clusters_than_classes() -> None:
    scores = cluster_scores(tensor([0, 0, 0, 1, 1, 1]), tensor([0, 0, 1, 2, 2, 3]), clusters=2, classes=4)
    assert scores["acc"] == scores["acc_many_to_one"] == pytest.approx(4 / 6)
    assert scores["mapping"] == [0, 2]


def test_a_single_cluster_has_no_information() -> None:
    scores = cluster_scores(torch.zeros(10, dtype=torch.long), torch.arange(10) % 2, clusters=2, classes=2)
    assert scores["acc"] == scores["acc_many_to_one"] == 0.5
    assert scores["nmi"] == scores["ami"] == scores["ari"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("clusters", "classes"), [(5, 5), (12, 5), (3, 8)])
def test_equals_definitions(clusters: int, classes: int) -> None:
    from sklearn import metrics

    assigned, labels = random_clustering(clusters, classes)
    scores = cluster_scores(assigned, labels, clusters, classes)
    joint = contingency(assigned, labels, clusters, classes).double() / len(labels)
    rows, columns = joint.sum(dim=1, keepdim=True), joint.sum(dim=0, keepdim=True)
    information = float(torch.special.xlogy(joint, joint / (rows * columns)).nan_to_num().sum())
    entropies = float(torch.special.entr(rows).sum() + torch.special.entr(columns).sum())
    assert scores["nmi"] == pytest.approx(2 * information / entropies, abs=1e-12)
    predicted, truth = assigned.numpy(), labels.numpy()
    assert scores["ami"] == pytest.approx(metrics.adjusted_mutual_info_score(truth, predicted), abs=1e-12)
    assert scores["ari"] == pytest.approx(metrics.adjusted_rand_score(truth, predicted), abs=1e-12)
    pairs = list(enumerate(scores["mapping"]))
    correct = sum(int(((assigned == a) & (labels == b)).sum()) for a, b in pairs if b is not None)
    assert scores["acc"] == correct / len(labels)
    matched = [b for _, b in pairs if b is not None]
    assert len(set(matched)) == len(matched) == min(clusters, classes)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_invariances(data: st.DataObject) -> None:
    clusters, classes = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    count = data.draw(st.integers(1, 40))
    assigned, labels = random_clustering(clusters, classes, count, data.draw(st.integers(0, 1000)))
    renamed = tensor(data.draw(st.permutations(range(clusters))))[assigned]
    scores = cluster_scores(assigned, labels, clusters, classes)
    again = cluster_scores(renamed, labels, clusters, classes)
    assert {name: again[name] for name in SCORES} == pytest.approx({name: scores[name] for name in SCORES}, abs=1e-9)
    assert scores["acc"] == again["acc"]
    assert 0 < scores["acc"] <= scores["acc_many_to_one"] <= 1
    wider = cluster_scores(assigned, labels, clusters + 2, classes + 1)
    assert {name: wider[name] for name in SCORES} == pytest.approx({name: scores[name] for name in SCORES}, abs=1e-9)


def test_the_protocol_defines_every_score() -> None:
    assert set(PROTOCOL) == set(SCORES)
    assert "one-to-one" in PROTOCOL["acc"]
    assert "many-to-one" in PROTOCOL["acc_many_to_one"]


@pytest.mark.parametrize(
    ("assigned", "labels"),
    [([], []), ([0, 1], [0]), ([[0]], [[0]]), ([0, 2], [0, 1]), ([0, 1], [0, 2]), ([0, -1], [0, 1]), ([0, 1], [-1, 1])],
)
def test_invalid_assignments_are_refused(assigned: list[int], labels: list[int]) -> None:
    with pytest.raises(ValueError, match=r"must be in|one cluster and one class"):
        cluster_scores(tensor(assigned, dtype=torch.long), tensor(labels, dtype=torch.long), clusters=2, classes=2)


def test_entropy_and_clusters_used() -> None:
    even = torch.arange(40) % 4
    assert assignment_entropy(even) == pytest.approx(math.log(4))
    assert assignment_entropy(torch.zeros(9, dtype=torch.long)) == 0.0
    assert assignment_entropy(tensor([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(math.log(2))
    assert assignment_entropy(tensor([[0.9, 0.1], [0.9, 0.1]])) == pytest.approx(0.325083, abs=1e-6)
    assert classes_used(tensor([5, 5, 1])) == 2
    with pytest.raises(ValueError, match=r"\[N\]"):
        assignment_entropy(torch.zeros(0, dtype=torch.long))
