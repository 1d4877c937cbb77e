"""Random parameters have the distributions that are promised.

Every sample is of a fixed seed, and large enough that a wrong distribution of the kind one writes by mistake (an area
uniform in the side, a ratio uniform instead of its logarithm, a factor of half the strength) fails.
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
from sslkit.views.geometry import crop_boxes

Build = Callable[..., Views]
N = 4000


def drawn(views: Views, group: int = 0) -> dict[str, Tensor]:
    return views.draw(N, torch.Generator().manual_seed(0))[group]


def is_uniform(values: Tensor, low: float, high: float) -> bool:
    assert values.min() >= low - 1e-6
    assert values.max() <= high + 1e-6
    return bool(stats.kstest(values.flatten().numpy(), stats.uniform(low, high - low).cdf).pvalue > 1e-3)


def rate(happened: Tensor) -> float:
    return float(happened.float().mean())


def near(p: float, n: int = 2 * N) -> object:
    return pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n) + 1e-9)


@pytest.mark.parametrize("shape", [(224, 224), (120, 240)])
@pytest.mark.parametrize("scale", [(0.2, 1.0), (0.05, 0.2)])
def test_boxes_are_distributed_as_torchvisions(
    build: Build, shape: tuple[int, int], scale: tuple[float, float]
) -> None:
    views = build("crops", global_scale=scale)
    parameters = drawn(views)
    height, width = shape
    boxes = crop_boxes(*(parameters[k] for k in ("area", "log_ratio", "position")), height, width, (3 / 4, 4 / 3))
    torch.manual_seed(0)
    image = torch.empty(1, height, width)
    theirs = torch.tensor([RandomResizedCrop.get_params(image, scale, (3 / 4, 4 / 3)) for _ in range(N)])
    for ours_of, theirs_of in (
        (boxes[..., 2] * boxes[..., 3], theirs[:, 2] * theirs[:, 3]),
        (boxes[..., 3] / boxes[..., 2], theirs[:, 3] / theirs[:, 2]),
        (boxes[..., 0] + boxes[..., 2] / 2, theirs[:, 0] + theirs[:, 2] / 2),
        (boxes[..., 1] + boxes[..., 3] / 2, theirs[:, 1] + theirs[:, 3] / 2),
    ):
        assert stats.ks_2samp(ours_of.flatten().numpy(), theirs_of.numpy()).pvalue > 1e-3


def test_tries_are_uniform_in_area_log_ratio_and_position(build: Build) -> None:
    views = build("crops", global_scale=(0.3, 0.9), local_crops=1, local_scale=(0.1, 0.3), ratio=(0.5, 1.5))
    for group, scale in enumerate([(0.3, 0.9), (0.1, 0.3)]):
        parameters = drawn(views, group)
        assert is_uniform(parameters["area"], *scale)
        assert is_uniform(parameters["log_ratio"], math.log(0.5), math.log(1.5))
        assert is_uniform(parameters["position"], 0, 1)


def test_colour_factors(build: Build) -> None:
    parameters = drawn(build("crops", brightness=0.4, contrast=1.5, saturation=0.2, hue=0.1, grayscale_p=0.0))
    jittered = parameters["brightness"] != 1
    assert rate(jittered) == near(0.8)
    expected = {"brightness": (0.6, 1.4), "contrast": (0, 2.5), "saturation": (0.8, 1.2), "hue": (-0.1, 0.1)}
    for name, (low, high) in expected.items():
        assert is_uniform(parameters[name][jittered], low, high), name
        assert (parameters[name][~jittered] == (0 if name == "hue" else 1)).all()
    together = torch.stack([parameters[name][jittered] for name in expected])
    assert (torch.corrcoef(together) - torch.eye(4)).abs().max() < 0.06


def test_probabilities(build: Build) -> None:
    views = build(
        "crops", flip_p=0.3, grayscale_p=0.2, local_crops=2, blur_p=(0.1, 1.0, 0.5), solarise_p=(0.0, 0.2, 0.0)
    )
    parameters, local = drawn(views), drawn(views, 1)
    assert rate(parameters["flip"] == 1) == near(0.3)
    assert rate(parameters["saturation"] == 0) == near(0.2)
    blurred = parameters["blur_sigma"] > 0
    assert [rate(blurred[:, v]) for v in range(2)] == [near(0.1, N), 1.0]
    assert is_uniform(parameters["blur_sigma"][blurred], 0.1, 2.0)
    assert rate(local["blur_sigma"] > 0) == near(0.5)
    assert [rate(parameters["solarise"][:, v] == 0.5) for v in range(2)] == [0.0, near(0.2, N)]
    assert (parameters["solarise"][:, 0] > 1).all()


def test_affine_parameters(build: Build) -> None:
    views = build("affine", degrees=30.0, translate=0.2, scale=(0.7, 1.1), shear=5.0, flip_p=0.25)
    parameters = drawn(views)
    assert is_uniform(parameters["angle"], -30, 30)
    assert is_uniform(parameters["translate"], -0.2, 0.2)
    assert is_uniform(parameters["scale"], 0.7, 1.1)
    assert is_uniform(parameters["shear"], -5, 5)
    assert rate(parameters["flip"]) == near(0.25)


def test_views_and_images_are_independent(build: Build) -> None:
    for name, value in drawn(build("crops")).items():
        if value.dim() == 2 and name != "flip":
            assert abs(float(torch.corrcoef(value.T)[0, 1])) < 0.06, name
            assert abs(float(torch.corrcoef(torch.stack([value[:-1, 0], value[1:, 0]]))[0, 1])) < 0.06, name


def test_affine_effects(build: Build) -> None:
    views = build("affine", brightness=0.3, contrast=0.5, jitter_p=0.6, blur_p=0.4, blur_sigma=(0.5, 0.9))
    parameters = drawn(views)
    jittered, blurred = parameters["brightness"] != 1, parameters["blur_sigma"] > 0
    assert rate(jittered) == near(0.6)
    assert is_uniform(parameters["brightness"][jittered], 0.7, 1.3)
    assert is_uniform(parameters["contrast"][jittered], 0.5, 1.5)
    assert rate(blurred) == near(0.4)
    assert is_uniform(parameters["blur_sigma"][blurred], 0.5, 0.9)


def test_flip_parameters(build: Build) -> None:
    own = {"brightness": 0.3, "contrast": 0.6, "saturation": 0.5}
    parameters = drawn(build("flip", flip_p=0.2, jitter_p=0.7, hue=0.2, **own))
    assert rate(parameters["flip"]) == near(0.2)
    jittered = parameters["brightness"] != 1
    assert rate(jittered) == near(0.7)
    for name, strength in own.items():
        assert is_uniform(parameters[name][jittered], 1 - strength, 1 + strength), name
    assert is_uniform(parameters["hue"][jittered], -0.2, 0.2)


def test_blur_and_solarisation_are_as_strong_as_asked(build: Build) -> None:
    own = {"blur_p": 1.0, "blur_sigma": (0.5, 0.9), "solarise_p": 1.0, "solarise_threshold": 0.75}
    views = build("crops", local_crops=1, **own)
    for group in (0, 1):
        parameters = drawn(views, group)
        assert is_uniform(parameters["blur_sigma"], 0.5, 0.9)
        assert (parameters["solarise"] == 0.75).all()
