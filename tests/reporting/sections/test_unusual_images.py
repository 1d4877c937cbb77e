from __future__ import annotations

from collections.abc import Callable

import torch

from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.sections import unusual_images as module
from sslkit.reporting.sections.unusual_images import unusual_images


def cone(count: int) -> torch.Tensor:
    noise = 0.1 * torch.randn(count, 16, generator=torch.Generator().manual_seed(0))
    noise[:, 0] += 1
    return noise


def test_outliers_and_near_duplicates_have_scores(encoded_split: Callable[..., EncodedSplit]) -> None:
    features = cone(100)
    features[17] *= -1
    features[60] = features[40] * 2
    found = unusual_images(encoded_split(features), None)
    assert "compared with each other" in found["outliers_note"]
    assert "among 100 test images" in found["outliers_note"]
    assert found["outliers"][0]["text"].startswith("outlier score ")
    assert found["outliers"][0]["text"].endswith("test image 17")
    assert f"{len(found['outliers'])} outlier" in found["outliers_note"]
    ((text, tiles),) = found["duplicates"]
    assert text == "2 images"
    assert [tile["text"] for tile in tiles] == [
        "similarity 1.000, test image 40",
        "similarity 1.000, test image 60",
    ]
    assert found["duplicates_note"].startswith("1 group of near-duplicates")


def test_test_images_are_compared_with_training_images(encoded_split: Callable[..., EncodedSplit]) -> None:
    # Half of the test images are unlike all training images: compared with each other, they are typical.
    features = torch.cat([cone(50), -cone(50).flip(1)])
    among_themselves = unusual_images(encoded_split(features), None)
    compared = unusual_images(encoded_split(features), cone(200))
    assert len(among_themselves["outliers"]) < 10
    assert "51 outliers" in compared["outliers_note"]
    assert "compared with the training images" in compared["outliers_note"]
    assert "the 40 highest scores are shown" in compared["outliers_note"]
    assert len(compared["outliers"]) == 40


def test_many_images_are_sampled_and_unusable_features_have_no_section(
    encoded_split: Callable[..., EncodedSplit], monkeypatch
) -> None:
    monkeypatch.setattr(module, "MAX_IMAGES", 30)
    assert "among 30 of 100 test images" in unusual_images(encoded_split(cone(100)), None)["outliers_note"]
    assert unusual_images(encoded_split(torch.full((5, 4), torch.nan)), None) is None
