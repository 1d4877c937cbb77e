"""A short training on digits, and the accuracy of its features with few labels, which shows whether they improved."""

from __future__ import annotations

from sslkit.data.label_subsets import nested_subsets
from sslkit.evaluation.knn_classifier import knn_accuracy
from sslkit.evaluation.run_subject import RunSubject
from sslkit.runs.run import Run
from sslkit.trained.network import NetworkWeights

RECIPE = """
[train]
epochs = 12
batch_size = 128
[data]
use = "digits"
size = 8
[views]
use = "affine"
padding = "zeros"
degrees = 20
[backbone]
use = "convnet"
width = 16
[optimizer]
use = "adamw"
lr = 2e-3
warmup_epochs = 1
[monitor]
every_epochs = 0
"""
"""Recipe without head, loss and method."""


def accuracy(run: Run, weights: NetworkWeights) -> float:
    """Return the mean accuracy of a nearest-neighbour classifier with 2 % of the labels, over five subsets."""
    subject = RunSubject(run, "cpu", weights=weights)
    train_set, test_set = subject.features("train"), subject.features("test")
    assert train_set.labels is not None
    assert test_set.labels is not None
    accuracies = []
    for seed in range(5):
        subset = nested_subsets(train_set.labels, [0.02], seed)[0.02]
        bank = train_set.features[subset], train_set.labels[subset]
        accuracies.append(knn_accuracy(*bank, test_set.features, test_set.labels, 1, classes=10))
    return sum(accuracies) / 5
