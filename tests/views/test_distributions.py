"""Distributions of the policies' random parameters.

Samples have a fixed seed and are large enough to detect typical mistakes: a uniform side instead of area, a uniform
ratio instead of its logarithm, or half the strength.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor
from torchvision.transforms import RandomResizedCrop

from sslkit.contracts.views import Views
from sslkit.views.resize import crop_boxes

BuildPolicy = Callable[..., Views]
N = 4000


def draw(views: Views, group: int = 0) -> dict[str, Tensor]:
    return views.draw(N, torch.Generator().manual_seed(0))[group]


def is_uniform(values: Tensor, low: float, high: float) -> bool:
    assert values.min() >= low - 1e-6
    assert values.max() <= high + 1e-6
    return bool(stats.kstest(values.flatten().numpy(), stats.uniform(low, high - low).cdf).pvalue > 1e-3)


def rate(occurred: Tensor) -> float:
    return float(occurred.float().mean())


def approx_rate(p: float, n: int = 2 * N) -> object:
    return pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n) + 1e-9)


@pytest.mark.parametrize("shape", [(224, 224), (120, 240)])
@pytest.mark.parametrize("scale", [(0.2, 1.0), (0.05, 0.2)])
def test_boxes_have_torchvisions_distribution(
    build_policy: BuildPolicy, shape: tuple[int, int], scale: tuple[float, float]
) -> None:
    views = build_policy("crops", global_scale=scale)
    parameters = draw(views)
    height, width = shape
    boxes = crop_boxes(*(parameters[k] for k in ("area", "log_ratio", "position")), height, width, (3 / 4, 4 / 3))
    torch.manual_seed(0)
    image = torch.empty(1, height, width)
    reference = torch.tensor([RandomResizedCrop.get_params(image, scale, (3 / 4, 4 / 3)) for _ in range(N)])
    for values, expected in (
        (boxes[..., 2] * boxes[..., 3], reference[:, 2] * reference[:, 3]),
        (boxes[..., 3] / boxes[..., 2], reference[:, 3] / reference[:, 2]),
        (boxes[..., 0] + boxes[..., 2] / 2, reference[:, 0] + reference[:, 2] / 2),
        (boxes[..., 1] + boxes[..., 3] / 2, reference[:, 1] + reference[:, 3] / 2),
    ):
        assert stats.ks_2samp(values.flatten().numpy(), expected.numpy()).pvalue > 1e-3


def test_tries_are_uniform_in_area_log_ratio_and_position(build_policy: BuildPolicy) -> None:
    views = build_policy("crops", global_scale=(0.3, 0.9), local_crops=1, local_scale=(0.1, 0.3), ratio=(0.5, 1.5))
    for group, scale in enumerate([(0.3, 0.9), (0.1, 0.3)]):
        parameters = draw(views, group)
        assert is_uniform(parameters["area"], *scale)
        assert is_uniform(parameters["log_ratio"], math.log(0.5), math.log(1.5))
        assert is_uniform(parameters["position"], 0, 1)


def test_colour_factors(build_policy: BuildPolicy) -> None:
    parameters = draw(build_policy("crops", brightness=0.4, contrast=1.5, saturation=0.2, hue=0.1, grayscale_p=0.0))
    jittered = parameters["brightness"] != 1
    assert rate(jittered) == approx_rate(0.8)
    expected = {"brightness": (0.6, 1.4), "contrast": (0, 2.5), "saturation": (0.8, 1.2), "hue": (-0.1, 0.1)}
    for name, (low, high) in expected.items():
        assert is_uniform(parameters[name][jittered], low, high), name
        assert (parameters[name][~jittered] == (0 if name == "hue" else 1)).all()
    values = torch.stack([parameters[name][jittered] for name in expected])
    assert (torch.corrcoef(values) - torch.eye(4)).abs().max() < 0.06


def test_effects_occur_with_their_probabilities(build_policy: BuildPolicy) -> None:
    views = build_policy(
        "crops", flip_p=0.3, grayscale_p=0.2, local_crops=2, blur_p=(0.1, 1.0, 0.5), solarise_p=(0.0, 0.2, 0.0)
    )
    parameters, local = draw(views), draw(views, 1)
    assert rate(parameters["flip"] == 1) == approx_rate(0.3)
    assert rate(parameters["saturation"] == 0) == approx_rate(0.2)
    blurred = parameters["blur_sigma"] > 0
    assert [rate(blurred[:, v]) for v in range(2)] == [approx_rate(0.1, N), 1.0]
    assert is_uniform(parameters["blur_sigma"][blurred], 0.1, 2.0)
    assert rate(local["blur_sigma"] > 0) == approx_rate(0.5)
    assert [rate(parameters["solarise"][:, v] == 0.5) for v in range(2)] == [0.0, approx_rate(0.2, N)]
    assert (parameters["solarise"][:, 0] > 1).all()


def test_affine_parameters(build_policy: BuildPolicy) -> None:
    views = build_policy("affine", degrees=30.0, translate=0.2, scale=(0.7, 1.1), shear=5.0, flip_p=0.25)
    parameters = draw(views)
    assert is_uniform(parameters["angle"], -30, 30)
    assert is_uniform(parameters["translate"], -0.2, 0.2)
    assert is_uniform(parameters["scale"], 0.7, 1.1)
    assert is_uniform(parameters["shear"], -5, 5)
    assert rate(parameters["flip"]) == approx_rate(0.25)


def test_views_and_images_are_independent(build_policy: BuildPolicy) -> None:
    for name, value in draw(build_policy("crops")).items():
        if value.dim() == 2 and name != "flip":
            assert abs(float(torch.corrcoef(value.T)[0, 1])) < 0.06, name
            assert abs(float(torch.corrcoef(torch.stack([value[:-1, 0], value[1:, 0]]))[0, 1])) < 0.06, name


def test_affine_effects(build_policy: BuildPolicy) -> None:
    views = build_policy("affine", brightness=0.3, contrast=0.5, jitter_p=0.6, blur_p=0.4, blur_sigma=(0.5, 0.9))
    parameters = draw(views)
    jittered, blurred = parameters["brightness"] != 1, parameters["blur_sigma"] > 0
    assert rate(jittered) == approx_rate(0.6)
    assert is_uniform(parameters["brightness"][jittered], 0.7, 1.3)
    assert is_uniform(parameters["contrast"][jittered], 0.5, 1.5)
    assert rate(blurred) == approx_rate(0.4)
    assert is_uniform(parameters["blur_sigma"][blurred], 0.5, 0.9)


def test_flip_parameters(build_policy: BuildPolicy) -> None:
    strengths = {"brightness": 0.3, "contrast": 0.6, "saturation": 0.5}
    parameters = draw(build_policy("flip", flip_p=0.2, jitter_p=0.7, hue=0.2, **strengths))
    assert rate(parameters["flip"]) == approx_rate(0.2)
    jittered = parameters["brightness"] != 1
    assert rate(jittered) == approx_rate(0.7)
    for name, strength in strengths.items():
        assert is_uniform(parameters[name][jittered], 1 - strength, 1 + strength), name
    assert is_uniform(parameters["hue"][jittered], -0.2, 0.2)


def test_blur_and_solarisation_have_the_configured_strength(build_policy: BuildPolicy) -> None:
    options = {"blur_p": 1.0, "blur_sigma": (0.5, 0.9), "solarise_p": 1.0, "solarise_threshold": 0.75}
    views = build_policy("crops", local_crops=1, **options)
    for group in (0, 1):
        parameters = draw(views, group)
        assert is_uniform(parameters["blur_sigma"], 0.5, 0.9)
        assert (parameters["solarise"] == 0.75).all()
