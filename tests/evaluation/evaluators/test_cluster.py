"""The cluster evaluator."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.dataset import Split
from sslkit.contracts.evaluator import IGNORED, OUTLIER, CorrectedClasses, Evaluation, Features
from sslkit.data.store import TensorStore
from sslkit.errors import DataError
from sslkit.evaluation.evaluators import cluster
from sslkit.evaluation.evaluators.cluster import Cluster

SCORES = {"acc", "acc_many_to_one", "nmi", "ami", "ari", "mapping", "classes_used", "entropy_nats"}


class ThreeClasses:
    """Three classes that are far apart in features and, if ``clear``, also in pixels."""

    seed = 3
    class_names: tuple[str, ...] = ("a", "b", "c")
    discovered_names: tuple[str, ...] = ()
    temperature = 1.0
    corrected: CorrectedClasses | None = None

    def __init__(self, logits: int | None = 3, clear: bool = False, sizes: tuple[int, int] = (90, 45)) -> None:
        generator = torch.Generator().manual_seed(0)
        self.requests: Counter[str] = Counter()
        self.splits, self.outputs = {}, {}
        for name, count in zip(("train", "test"), sizes, strict=True):
            labels = torch.randint(3, (count,), generator=generator)
            images = torch.randint(0, 60, (count, 1, 4, 4), generator=generator).to(torch.uint8)
            if clear:
                images += (90 * labels).to(torch.uint8).view(-1, 1, 1, 1)
            features = torch.eye(3, 5)[labels] + 0.05 * torch.randn(count, 5, generator=generator)
            features *= torch.rand(count, 1, generator=generator) * 50 + 1
            scores = None if logits is None else torch.eye(3, logits)[(labels + 1) % 3]
            self.splits[name] = Split(TensorStore(images), labels)
            self.outputs[name] = Features(features, labels, scores)

    def features(self, split: str) -> Features:
        self.requests[split] += 1
        return self.outputs[split]

    def split(self, split: str) -> Split:
        return self.splits[split]

    def corrected_classes(self, split: str) -> CorrectedClasses | None:
        return self.corrected

    def backbone(self) -> Backbone:
        raise AssertionError("clustering needs only features")


def evaluate(subject: ThreeClasses, **options: int) -> Evaluation:
    return Cluster(Cluster.Options(**options)).evaluate(subject)


def test_logits_are_scored_and_compared_with_baselines() -> None:
    subject = ThreeClasses()
    result = evaluate(subject)
    assert result.metrics["acc"] == result.metrics["ari"] == 1.0
    assert result.metrics["mapping"] == [2, 0, 1]
    assert result.metrics["classes_used"] == 3
    assert result.metrics["entropy_nats"] == pytest.approx(math.log(3), abs=0.05)
    assert set(result.baselines) == {"kmeans_pixels", "kmeans_features"}
    assert all(set(scores) == SCORES for scores in (result.metrics, *result.baselines.values()))
    assert result.baselines["kmeans_features"]["acc"] == 1.0  # although feature lengths vary by a factor of 50
    assert result.baselines["kmeans_pixels"]["acc"] < 0.7
    assert subject.requests == {"train": 1, "test": 1}


def test_pixels_of_large_images_are_shrunk_before_k_means(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randint(0, 256, (5, 3, 64, 96), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    vectors = cluster.pixels(TensorStore(images))
    assert (vectors.count, vectors.width) == (5, 3 * 21 * 32)
    shrunk = vectors.fetch(torch.tensor([4, 1]))
    assert shrunk.shape == (2, vectors.width)
    even = torch.arange(4 * 64 * 64).reshape(4, 1, 64, 64).remainder(251).to(torch.uint8)
    means = even.float().unflatten(2, (32, 2)).unflatten(4, (32, 2)).mean(dim=(3, 5)).flatten(1) / 255
    torch.testing.assert_close(cluster.pixels(TensorStore(even)).fetch(torch.arange(4)), means)
    monkeypatch.setattr(cluster, "BLOCK_BYTES", 1)
    assert torch.equal(vectors.fetch(torch.tensor([4, 1])), shrunk)
    small = images[:, :, :32, :20]
    assert torch.equal(cluster.pixels(TensorStore(small)).fetch(torch.arange(5)), small.flatten(1).float() / 255)


def test_the_protocol_says_whether_pixels_are_shrunk() -> None:
    subject = ThreeClasses()
    assert evaluate(subject).protocol["kmeans"]["pixels"] == "scaled to 0..1, flattened"
    for name, split in subject.splits.items():
        subject.splits[name] = Split(
            TensorStore(torch.randint(0, 256, (len(split.images), 3, 40, 80)).byte()), split.labels
        )
    text = "shrunk to 16 x 32 pixels by averaging, scaled to 0..1, flattened"
    assert evaluate(subject).protocol["kmeans"]["pixels"] == text


def test_the_pixel_baseline_uses_pixels() -> None:
    assert evaluate(ThreeClasses(clear=True)).baselines["kmeans_pixels"]["acc"] == 1.0


def test_more_clusters_than_classes() -> None:
    result = evaluate(ThreeClasses(logits=8))
    assert result.protocol["clusters"] == 8
    assert result.protocol["classes"] == result.protocol["kmeans"]["clusters"] == 3
    assert len(result.metrics["mapping"]) == 8
    assert len(result.baselines["kmeans_pixels"]["mapping"]) == 3


def test_without_logits_the_features_are_clustered() -> None:
    result = evaluate(ThreeClasses(logits=None))
    assert result.protocol["assigned_by"] == "k-means on features"
    assert result.metrics["acc"] == 1.0
    assert set(result.baselines) == {"kmeans_pixels"}


def test_the_protocol_is_complete() -> None:
    result = evaluate(ThreeClasses(), kmeans_restarts=2, kmeans_fit_limit=50)
    assert result.protocol["split"] == "test"
    assert result.protocol["images"] == 45
    assert result.protocol["acc"].startswith("one-to-one")
    assert result.protocol["acc_many_to_one"].startswith("many-to-one")
    kmeans = result.protocol["kmeans"]
    assert (kmeans["fit_on"], kmeans["restarts"], kmeans["seed"]) == ("train", 2, 3)
    assert kmeans["fit_images"] == {"kmeans_pixels": 50, "kmeans_features": 50}
    json.dumps([result.metrics, result.protocol, result.baselines], allow_nan=False)


def test_the_same_subject_gives_the_same_metrics() -> None:
    assert evaluate(ThreeClasses(), kmeans_fit_limit=40) == evaluate(ThreeClasses(), kmeans_fit_limit=40)


def test_centres_are_fitted_only_on_training_images() -> None:
    """Additional test images do not change the clusters of other images."""
    small, large = ThreeClasses(logits=None, sizes=(90, 20)), ThreeClasses(logits=None, sizes=(90, 45))
    small.splits["train"], small.outputs["train"] = large.splits["train"], large.outputs["train"]
    joined = large.outputs["test"]
    assert joined.labels is not None
    small.outputs["test"] = Features(joined.features[:20], joined.labels[:20])
    small.splits["test"] = Split(TensorStore(large.splits["test"].images.gather(torch.arange(20))))
    assert evaluate(small).metrics["mapping"] == evaluate(large).metrics["mapping"]


def test_k_means_has_the_protocol_s_number_of_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    restarts: list[int] = []
    original = cluster.fit_centres

    def recording(points: Tensor, clusters: int, seed: int, count: int) -> Tensor:
        restarts.append(count)
        return original(points, clusters, seed, count)

    monkeypatch.setattr(cluster, "fit_centres", recording)
    result = Cluster(Cluster.Options(kmeans_restarts=2)).evaluate(ThreeClasses())
    assert result.protocol["kmeans"]["restarts"] == 2
    assert restarts == [2, 2]


def test_large_images_are_fitted_on_fewer_and_assigned_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = evaluate(ThreeClasses(clear=True))
    monkeypatch.setattr(cluster, "BLOCK_BYTES", 4 * 16 * 7)
    assert evaluate(ThreeClasses(clear=True)) == expected
    monkeypatch.setattr(cluster, "FIT_BYTES", 4 * 16 * 30)
    assert evaluate(ThreeClasses(clear=True)).protocol["kmeans"]["fit_images"]["kmeans_pixels"] == 30
    monkeypatch.setattr(cluster, "FIT_BYTES", 1)
    assert evaluate(ThreeClasses(clear=True)).protocol["kmeans"]["fit_images"]["kmeans_pixels"] == 3


def test_classes_without_names_are_counted_by_their_labels() -> None:
    subject = ThreeClasses()
    subject.class_names = ()
    assert evaluate(subject).protocol["classes"] == 3


def test_missing_labels_and_too_few_images_are_refused() -> None:
    subject = ThreeClasses()
    subject.outputs["test"] = replace(subject.outputs["test"], labels=None)
    with pytest.raises(DataError, match="labels"):
        evaluate(subject)
    with pytest.raises(DataError, match="kmeans_fit_limit"):
        evaluate(ThreeClasses(), kmeans_fit_limit=2)
    with pytest.raises(DataError, match="3 clusters in 2 train images"):
        evaluate(ThreeClasses(sizes=(2, 45)))


def test_every_option_is_described() -> None:
    assert all(field.description for field in Cluster.Options.model_fields.values())


def test_same_named_classes_are_merged_and_names_are_scored() -> None:
    subject = ThreeClasses(logits=4)
    subject.discovered_names = ("c", "a", "a", "")  # labels 0, 1 and 2 are in discovered classes 1, 2 and 0
    labels = subject.outputs["test"].labels
    assert labels is not None
    counts = labels.bincount()
    result = evaluate(subject)
    named = result.metrics["named"]
    assert named["named_acc"] == pytest.approx(int(counts[0] + counts[2]) / 45)
    assert named["acc"] == pytest.approx(int(counts[2] + counts[:2].max()) / 45)
    assert named["classes_used"] == 2
    assert result.metrics["acc"] == 1.0, "without names, the classes are scored as before"
    assert result.protocol["named"] == (
        "classes with the same name are merged, which leaves 3; named_acc: accuracy of the class names as labels "
        "(2 of the 3 names are label names; images of the other classes count as wrong)"
    )
    subject.temperature = 10.0
    together = evaluate(subject).metrics["named"]
    assert together["classes_used"] == 1, "probabilities of same-named classes are added, as in predictions"
    subject.discovered_names = ("one", "two", "two", "")
    own_words = evaluate(subject)
    assert "named_acc" not in own_words.metrics["named"]
    assert own_words.protocol["named"] == "classes with the same name are merged, which leaves 3"


def test_metrics_with_corrections_are_next_to_those_without() -> None:
    subject = ThreeClasses()
    output = subject.outputs["test"]
    labels = output.labels
    assert labels is not None
    # The network confuses labels 0 and 1; a user moves all images of label 1 to the added class 7, and marks two.
    subject.outputs["test"] = replace(output, logits=torch.eye(3)[torch.where(labels == 1, 0, labels)])
    assigned = torch.where(labels == 1, 7, labels)
    marked = (labels == 2).nonzero().flatten()[:2]
    assigned[marked] = torch.tensor([OUTLIER, IGNORED])
    corrected = labels == 1
    corrected[marked] = True
    none = torch.zeros(45, dtype=torch.bool)
    plain = evaluate(subject)
    subject.corrected = CorrectedClasses(assigned, torch.ones(45), corrected, {0: "a", 7: "c"}, 30)
    result = evaluate(subject)
    counts = labels.bincount()
    assert result.protocol["corrections"] == {"images": 30, "test_images": int(counts[1]) + 2, "left_out": 2}
    assert result.metrics["corrected"]["acc"] == 1.0
    assert result.metrics["corrected"]["named_acc"] == pytest.approx(int(counts[0]) / 43), "class 7 is not label c"
    del result.metrics["corrected"]
    assert (result.metrics, result.baselines) == (plain.metrics, plain.baselines)
    assert plain.metrics["acc"] < 0.8
    subject.corrected = replace(subject.corrected, assigned=labels, corrected=none)
    untouched = evaluate(subject)
    assert "corrected" not in untouched.metrics, "no test image was corrected"
    assert untouched.protocol["corrections"] == {"images": 30, "test_images": 0, "left_out": 0}
    subject.corrected = replace(subject.corrected, images=0)
    assert evaluate(subject) == plain, "classes were only merged"


def test_k_means_is_fitted_on_a_random_sample() -> None:
    """Images of a folder data set are sorted by class, so that the first images all have the same class."""
    subject = ThreeClasses(clear=True)
    train, output = subject.splits["train"], subject.outputs["train"]
    assert train.labels is not None
    order = train.labels.argsort(stable=True)
    subject.splits["train"] = Split(TensorStore(train.images.images[order]), train.labels[order])
    subject.outputs["train"] = Features(output.features[order], train.labels[order])
    for scores in evaluate(subject, kmeans_fit_limit=20).baselines.values():
        assert scores["acc"] == 1.0
