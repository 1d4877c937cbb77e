"""The proposed number of classes: right for clear groups, honest without groups, and reproducible."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from sslkit.errors import InputError
from sslkit.features import class_count
from sslkit.features.class_count import (
    SCORES,
    ClassCountProposal,
    _scaled,
    default_candidates,
    propose_class_count,
)
from sslkit.features.class_count_scores import _coding_length, _kept_together


def blobs(groups: int, count: int = 240, noise: float = 0.3) -> Tensor:
    generator = torch.Generator().manual_seed(groups)
    centres = torch.randn(groups, 20, generator=generator)
    return centres[torch.arange(count) % groups] + noise * torch.randn(count, 20, generator=generator)


@pytest.fixture(scope="module")
def five() -> ClassCountProposal:
    return propose_class_count(blobs(5), candidates=[2, 3, 4, 5, 6, 8])


def test_clear_groups_are_counted(five: ClassCountProposal) -> None:
    assert (five.classes, five.clear) == (5, True)
    assert five.low <= 5 <= five.high
    row = five.candidates[3]
    assert row.classes == 5
    assert row.combined == max(candidate.combined for candidate in five.candidates)
    assert (row.seed_stability, row.half_stability, row.prediction_strength) == (1, 1, 1)
    assert row.smallest_share == 0.2
    assert "5 classes have the highest combined score" in five.reasons[0]


def test_three_groups_are_three() -> None:
    assert propose_class_count(blobs(3), candidates=[2, 3, 4, 5]).classes == 3


def test_combined_is_the_mean_of_the_scaled_scores(five: ClassCountProposal) -> None:
    for row in five.candidates:
        parts = []
        for name in SCORES:
            values = [getattr(candidate, name) for candidate in five.candidates]
            part = (getattr(row, name) - min(values)) / (max(values) - min(values))
            parts.append(1 - part if name in ("davies_bouldin", "coding_length") else part)
        assert row.combined == pytest.approx(sum(parts) / 5)
    plausible = [row.classes for row in five.candidates if row.combined >= five.candidates[3].combined - 0.1]
    assert (five.low, five.high) == (plausible[0], plausible[-1])


def test_the_proposal_is_json(five: ClassCountProposal) -> None:
    values = json.loads(json.dumps(five.as_json(), allow_nan=False))
    assert values == five.as_json()
    assert (values["classes"], values["images"], values["seed"]) == (5, 240, 0)
    assert values["candidates"][0]["classes"] == 2


def test_features_without_groups_are_not_clear() -> None:
    proposal = propose_class_count(
        torch.randn(200, 20, generator=torch.Generator().manual_seed(1)), candidates=[2, 5, 9]
    )
    assert not proposal.clear
    assert "no clear groups" in " ".join(proposal.reasons)


def test_a_proposal_at_the_end_of_the_candidates_is_not_clear() -> None:
    proposal = propose_class_count(blobs(5), candidates=[3, 4])
    assert not proposal.clear
    assert "may be outside the candidates" in proposal.reasons[-1]


def test_two_classes_may_be_one_group() -> None:
    proposal = propose_class_count(blobs(2), candidates=[2, 3])
    assert (proposal.classes, proposal.clear) == (2, False)
    assert "may also be a single group" in proposal.reasons[-1]


def test_equal_seeds_give_equal_proposals_and_only_a_sample_is_used() -> None:
    features = blobs(4, 300)
    first = propose_class_count(features, candidates=[3, 4, 5], seed=3, max_images=100)
    assert first == propose_class_count(features.clone(), candidates=[5, 4, 3, 4], seed=3, max_images=100)
    assert (first.images, first.classes, first.seed) == (100, 4, 3)


def test_the_smallest_of_equal_candidates_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    equal = dict.fromkeys([*SCORES, "prediction_strength", "smallest_share"], 0.5)
    monkeypatch.setattr(class_count, "score_candidate", lambda *_: equal)
    proposal = propose_class_count(blobs(5), candidates=[3, 4, 5])
    assert (proposal.classes, proposal.low, proposal.high) == (3, 3, 5)


def test_scale_does_not_matter(five: ClassCountProposal) -> None:
    scaled = propose_class_count(1000 * blobs(5), candidates=[4, 5, 6])
    assert scaled.classes == 5
    assert scaled.candidates[1].silhouette == pytest.approx(five.candidates[3].silhouette, abs=1e-4)


@pytest.mark.parametrize(
    ("images", "largest", "count"), [(20, 2, 1), (100, 5, 4), (1337, 66, 24), (5000, 100, 27), (10**6, 100, 27)]
)
def test_default_candidates(images: int, largest: int, count: int) -> None:
    candidates = default_candidates(images)
    assert candidates == sorted(set(candidates))
    assert (candidates[0], candidates[-1], len(candidates)) == (2, largest, count)


def test_coding_length_is_that_of_the_formula() -> None:
    points = torch.tensor([[1.0, 0], [3, 0], [-1, 0], [-3, 0]])
    # Variance 5, error 0.5. Each cluster: mean (2, 0), squared deviations 2, 2 points in 2 dimensions.
    deviations = torch.tensor(1 + 2 * 2 / (0.5 * 2)).log2() * (2 + 2) / 2
    mean = torch.tensor(1 + 4 / 0.5).log2()
    expected = 2 * (deviations + mean + 2) / 4
    assert _coding_length(points, torch.tensor([0, 0, 1, 1])) == pytest.approx(float(expected))


def test_kept_together_is_the_share_of_pairs_in_the_worst_cluster() -> None:
    clusters, predicted = torch.tensor([0, 0, 0, 0, 1, 1]), torch.tensor([0, 0, 0, 1, 1, 1])
    assert _kept_together(clusters, predicted, 2) == 0.5  # 3 of 6 pairs


def test_equal_scores_do_not_decide() -> None:
    assert _scaled([0.5, 0.5 + 1e-9], False).tolist() == [0, 0]
    assert _scaled([1.0, 3.0, 2.0], True).tolist() == [1, 0, 0.5]


@pytest.mark.parametrize(
    ("features", "candidates", "words"),
    [
        (torch.ones(50, 4), None, ["all images have the same features"]),
        (torch.randn(19, 4), None, ["19 images", "at least 20"]),
        (torch.full((30, 4), torch.nan), None, ["30 of 30 images", "NaN"]),
        (blobs(5, 40), [1, 2], ["2 to 10", "[1, 2]"]),
        (blobs(5, 40), [2, 11], ["2 to 10", "[2, 11]"]),
        (blobs(5, 40), [], ["[]"]),
        (torch.eye(3).repeat(10, 1), [2, 4], ["2 to 3", "3 have different"]),
    ],
)
def test_invalid_input_is_refused(features: Tensor, candidates: list[int] | None, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        propose_class_count(features, candidates=candidates)
    for word in words:
        assert word in str(caught.value)
