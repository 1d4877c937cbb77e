"""Crops, affine maps and flips are the drawn ones, and weak views have no other effects."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from sslkit.contracts.views import Views
from sslkit.views.resize import crop_boxes, resize_shorter_side

BuildPolicy = Callable[..., Views]
WEAK = {"weak_views": 1, "blur_p": 0.5, "solarise_p": 0.5, "local_crops": 1}


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_crops_are_the_drawn_boxes(build_policy: BuildPolicy, images: Tensor) -> None:
    views = build_policy("crops", interpolation="bicubic", global_scale=(0.2, 0.6), jitter_p=0.0, grayscale_p=0.0)
    (drawn,) = views.draw(6, seeded())
    (result,) = views.apply(images, (drawn,))
    boxes = crop_boxes(drawn["area"], drawn["log_ratio"], drawn["position"], 32, 32, (3 / 4, 4 / 3))
    assert 0 < drawn["flip"].mean() < 1
    for image, view in product(range(6), range(2)):
        box = [int(edge) for edge in boxes[image, view]]
        mode = InterpolationMode.BICUBIC
        expected = tv.resized_crop(images[image] / 255, *box, [32, 32], mode, antialias=True).clamp(0, 1)
        if drawn["flip"][image, view]:
            expected = expected.flip(-1)
        expected = tv.normalize(expected, views.mean, views.std)
        torch.testing.assert_close(result[view, image], expected, atol=1e-4, rtol=0)


def test_weak_views_are_only_cropped_and_flipped(build_policy: BuildPolicy, images: Tensor) -> None:
    views, without, plain = (
        build_policy("crops", **options)
        for options in (
            WEAK | {"weak_scale": (0.64, 0.81)},
            WEAK | {"weak_views": 0},
            {"weak_views": 1, "jitter_p": 0.0, "grayscale_p": 0.0, "local_crops": 1},
        )
    )
    drawn = views.draw(6, seeded())
    area = drawn[0]["area"][:, 0]
    assert 0.64 <= area.min() < 0.66
    assert 0.79 < area.max() <= 0.81
    (both, _), (neither, _) = (policy.apply(images, drawn) for policy in (views, without))
    assert torch.equal(both, neither)  # everything is drawn, nothing is decided in apply
    geometry = tuple({name: group[name] for name in ("area", "log_ratio", "position", "flip")} for group in drawn)
    cropped = plain.apply(images, geometry)[0]
    torch.testing.assert_close(both[0], cropped[0], atol=1e-5, rtol=0)
    assert (both[1] - cropped[1]).abs().mean() > 0.5
    # Strong and local views are those of the same policy without weak views.
    for group, expected in zip(drawn, without.draw(6, seeded()), strict=True):
        assert all(torch.equal(group[name][:, -1], expected[name][:, -1]) for name in group)


def test_a_view_that_is_not_weak_remains(build_policy: BuildPolicy) -> None:
    with pytest.raises(ValidationError, match="must be less than global_crops = 2"):
        build_policy("crops", weak_views=2)


def test_affine_views_are_the_drawn_maps(build_policy: BuildPolicy, images: Tensor) -> None:
    options: dict[str, Any] = {"flip_p": 0.5, "padding": "zeros", "jitter_p": 0.0}
    views = build_policy("affine", **options)
    (drawn,) = views.draw(6, seeded())
    (result,) = views.apply(images, (drawn,))
    assert 0 < drawn["flip"].mean() < 1
    for image, view in product(range(6), range(2)):
        values = {name: drawn[name][image, view].tolist() for name in ("angle", "translate", "scale", "shear", "flip")}
        pixels = images[image] / 255
        expected = tv.affine(
            pixels.flip(-1) if values["flip"] else pixels,
            angle=values["angle"],
            translate=[32 * part for part in values["translate"]],
            scale=values["scale"],
            shear=values["shear"],
            interpolation=InterpolationMode.BILINEAR,
        )
        torch.testing.assert_close(
            result[view, image], tv.normalize(expected, views.mean, views.std), atol=2e-3, rtol=0
        )
    (bicubic,) = build_policy("affine", interpolation="bicubic", **options).apply(images, (drawn,))
    assert (bicubic - result).abs().max() > 0.1


@pytest.mark.parametrize("shape", [(48, 72), (72, 48), (20, 30)], ids=str)
def test_neutral_affine_views_are_the_central_square(build_policy: BuildPolicy, shape: tuple[int, int]) -> None:
    """The image is first resized so that its shorter side has the view's size."""
    neutral = {"degrees": 0.0, "translate": 0.0, "scale": (1.0, 1.0), "shear": 0.0}
    views = build_policy("affine", image_size=min(shape), size=16, **neutral)
    images = torch.randint(0, 256, (2, 3, *shape), generator=seeded()).to(torch.uint8)
    (result,) = views.apply(images, views.draw(2, seeded()))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (views.mean, views.std))
    expected = tv.center_crop(resize_shorter_side(images.float() / 255, 16), [16, 16])
    for view in result:
        torch.testing.assert_close(view * std + mean, expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("shape", [(24, 40), (40, 24)], ids=str)
def test_flip_views_are_the_central_square(build_policy: BuildPolicy, shape: tuple[int, int]) -> None:
    views = build_policy("flip", image_size=24, flip_p=0.0)
    images = torch.randint(0, 256, (2, 3, *shape), generator=seeded()).to(torch.uint8)
    (result,) = views.apply(images, views.draw(2, seeded()))
    expected = tv.normalize(tv.center_crop(images / 255, [24, 24]), views.mean, views.std)
    for view in result:
        torch.testing.assert_close(view, expected, atol=1e-4, rtol=0)
