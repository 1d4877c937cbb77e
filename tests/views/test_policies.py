"""Views of the built-in policies: shapes, independence, and equality with torchvision."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from sslkit.contracts.views import Parameters, ViewGroup, Views, slice_parameters
from sslkit.testing.fake_device import ForbidDeviceSync
from sslkit.views.colour import adjust_colour

BuildPolicy = Callable[..., Views]

ALL_EFFECTS: dict[str, dict[str, Any]] = {
    "crops": {"local_crops": 3, "blur_p": (0.5, 1.0, 0.3), "solarise_p": (0.0, 0.5, 0.5), "interpolation": "bicubic"},
    "affine": {"views": 3, "brightness": 0.3, "contrast": 0.3, "saturation": 0.2, "blur_p": 0.5, "flip_p": 0.5},
    "flip": {"jitter_p": 0.8, "grayscale_p": 0.2, "blur_p": (0.5, 1.0), "solarise_p": 0.5},
}
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in ALL_EFFECTS),
    *ALL_EFFECTS.items(),
    ("crops", {"weak_views": 1, "blur_p": 0.5, "solarise_p": 0.5, "local_crops": 1}),
]
every_policy = pytest.mark.parametrize(("policy", "options"), CASES, ids=lambda case: str(case)[:12])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat(parameters: Parameters) -> list[Tensor]:
    return [value for group in parameters for value in group.values()]


@every_policy
def test_views_have_the_declared_shape(
    build_policy: BuildPolicy, images: Tensor, policy: str, options: dict[str, Any]
) -> None:
    views = build_policy(policy, **options)
    parameters = views.draw(6, seeded())
    assert len(parameters) == len(views.groups)
    for group, drawn, result in zip(views.groups, parameters, views.apply(images, parameters), strict=True):
        assert all(value.shape[:2] == (6, group.count) for value in drawn.values())
        assert result.shape == (group.count, 6, 3, group.size, group.size)
        assert result.dtype == torch.float32
        assert result.is_contiguous()
        assert result.isfinite().all()
        low, high = ((edge - torch.tensor(views.mean)) / torch.tensor(views.std) for edge in (0, 1))
        assert (result >= low[:, None, None] - 1e-4).all()
        assert (result <= high[:, None, None] + 1e-4).all()


@every_policy
def test_draw_uses_only_its_generator(build_policy: BuildPolicy, policy: str, options: dict[str, Any]) -> None:
    views = build_policy(policy, **options)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = flat(views.draw(5, seeded(7)))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = flat(views.draw(5, seeded(7))), flat(views.draw(5, seeded(8)))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@every_policy
def test_apply_draws_nothing_and_is_repeatable(
    build_policy: BuildPolicy, images: Tensor, policy: str, options: dict[str, Any]
) -> None:
    views = build_policy(policy, **options)
    parameters = views.draw(6, seeded())
    originals, pixels, state = [value.clone() for value in flat(parameters)], images.clone(), torch.get_rng_state()
    first, second = views.apply(images, parameters), views.apply(images, parameters)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, pixels)
    assert all(torch.equal(a, b) for a, b in zip(originals, flat(parameters), strict=True))


@every_policy
def test_a_slice_of_the_batch_gives_its_slice(
    build_policy: BuildPolicy, images: Tensor, policy: str, options: dict[str, Any]
) -> None:
    views = build_policy(policy, **options)
    parameters = views.draw(6, seeded())
    whole = views.apply(images, parameters)
    for start, stop in ((0, 6), (2, 5), (5, 6)):
        part = views.apply(images[start:stop], slice_parameters(parameters, start, stop))
        for a, b in zip(whole, part, strict=True):
            assert torch.allclose(a[:, start:stop], b, atol=1e-5)


@every_policy
def test_draw_and_apply_need_no_device_sync(
    build_policy: BuildPolicy, images: Tensor, policy: str, options: dict[str, Any]
) -> None:
    views = build_policy(policy, **options)
    parameters = views.draw(6, seeded())
    with ForbidDeviceSync():
        views.draw(6, seeded())
        views.apply(images, parameters)


@every_policy
def test_apply_runs_on_the_images_device(
    build_policy: BuildPolicy, images: Tensor, policy: str, options: dict[str, Any]
) -> None:
    views = build_policy(policy, **options)
    drawn = views.draw(6, seeded())
    parameters = tuple({name: value.to("meta") for name, value in group.items()} for group in drawn)
    result = views.apply(images.to("meta"), parameters)
    assert [view.device.type for view in result] == ["meta"] * len(views.groups)
    assert [view.shape for view in result] == [view.shape for view in views.apply(images, drawn)]


@every_policy
def test_autocast_and_gradient_mode_have_no_influence(
    build_policy: BuildPolicy, images: Tensor, policy: str, options: dict[str, Any]
) -> None:
    views = build_policy(policy, **options)
    parameters = views.draw(6, seeded())
    expected = views.apply(images, parameters)
    for mode in (torch.autocast("cpu", torch.bfloat16), torch.inference_mode(), nullcontext()):
        with mode:
            result = views.apply(images, parameters)
        assert all(torch.equal(a, b) for a, b in zip(expected, result, strict=True))
    assert not any(view.requires_grad for view in result)


@pytest.mark.parametrize(
    ("policy", "options"),
    [
        ("crops", ALL_EFFECTS["crops"]),
        ("affine", ALL_EFFECTS["affine"]),
        ("crops", {"jitter_p": 0.0, "grayscale_p": 0.0, "flip_p": 0.0, "local_crops": 2}),
        ("affine", {}),
    ],
)
def test_every_view_of_every_image_differs(
    build_policy: BuildPolicy, images: Tensor, policy: str, options: dict[str, Any]
) -> None:
    views = build_policy(policy, **options)
    same = images[:1].expand(6, -1, -1, -1)
    for result in views.apply(same, views.draw(6, seeded())):
        distinct = result.flatten(0, 1).flatten(1).unique(dim=0)
        assert len(distinct) == result.shape[0] * result.shape[1]


def test_flip_mirrors_and_normalises_the_whole_image(build_policy: BuildPolicy, images: Tensor) -> None:
    views = build_policy("flip")
    parameters = views.draw(6, seeded())
    (result,) = views.apply(images, parameters)
    mean, std = (torch.tensor(value)[:, None, None] for value in (views.mean, views.std))
    assert 0 < parameters[0]["flip"].mean() < 1
    for b in range(6):
        for v in range(2):
            image = images[b].flip(-1) if parameters[0]["flip"][b, v] else images[b]
            assert torch.allclose(result[v, b], (image / 255 - mean) / std, atol=1e-5)


def test_effects_are_applied_in_the_papers_order(build_policy: BuildPolicy) -> None:
    # Blurring a black and white edge first creates grays that solarisation then inverts.
    image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    image[..., 16:] = 255
    neutral = {"global_scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip_p": 0.0, "jitter_p": 0.0, "grayscale_p": 0.0}
    views = build_policy("crops", **neutral, blur_p=1.0, blur_sigma=(2.0, 2.0), solarise_p=1.0)
    (result,) = views.apply(image, views.draw(1, seeded()))
    pixels = result * torch.tensor(views.std)[:, None, None] + torch.tensor(views.mean)[:, None, None]
    assert pixels.max() < 0.5
    assert pixels[..., 15].min() > 0.3
    assert pixels[..., [0, 31]].max() < 1e-4


def test_colours_are_clamped_before_normalisation(build_policy: BuildPolicy) -> None:
    white = torch.full((4, 3, 32, 32), 255, dtype=torch.uint8)
    views = build_policy("flip", jitter_p=1.0, brightness=1.0, contrast=0.0, saturation=0.0, hue=0.0)
    parameters = views.draw(4, seeded())
    (result,) = views.apply(white, parameters)
    brightness = parameters[0]["brightness"].T.clamp(max=1)[..., None, None, None]
    mean, std = (torch.tensor(value)[:, None, None] for value in (views.mean, views.std))
    assert torch.allclose(result, ((brightness - mean) / std).expand_as(result), atol=1e-5)


@pytest.mark.parametrize("policy", ["crops", "flip", "affine"])
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_channel_counts_work_without_colour_effects(
    build_policy: BuildPolicy, policy: str, channels: int
) -> None:
    gray = {"saturation": 0.0, "hue": 0.0} if policy != "affine" else {}
    more = {"grayscale_p": 0.0, "blur_p": 0.5, "solarise_p": 0.5} if policy == "crops" else {}
    views = build_policy(policy, channels=channels, jitter_p=0.8, **gray, **more)
    images = torch.randint(0, 256, (3, channels, 32, 32), dtype=torch.uint8, generator=seeded())
    (result,) = views.apply(images, views.draw(3, seeded()))
    assert result.shape == (2, 3, channels, 32, 32)
    assert result.isfinite().all()


@pytest.mark.parametrize("policy", ["crops", "flip", "affine"])
@pytest.mark.parametrize("shape", [(24, 40), (64, 48)])
def test_images_may_have_any_shape_and_size(build_policy: BuildPolicy, policy: str, shape: tuple[int, int]) -> None:
    views = build_policy(policy, image_size=min(shape), size=32)
    images = torch.randint(0, 256, (3, 3, *shape), dtype=torch.uint8, generator=seeded())
    (result,) = views.apply(images, views.draw(3, seeded()))
    assert result.shape == (2, 3, 3, 32, 32)
    assert result.isfinite().all()


def test_global_groups_come_first(build_policy: BuildPolicy) -> None:
    views = build_policy("crops", image_size=64, global_crops=3, local_crops=4)
    assert views.groups == (ViewGroup(3, 64, True), ViewGroup(4, 36, False))
    assert (views.count, views.global_views, views.size) == (7, 3, 64)
    assert build_policy("crops", size=48, local_crops=1, local_size=20).groups[1] == ViewGroup(1, 20, False)
    assert build_policy("affine", image_size=16, views=4).groups == (ViewGroup(4, 16, True),)
    assert build_policy("flip", size=24).groups == (ViewGroup(2, 24, True),)


def test_an_effect_with_probability_zero_has_no_parameters(build_policy: BuildPolicy) -> None:
    views = build_policy(
        "crops", local_crops=2, jitter_p=0.0, grayscale_p=0.0, blur_p=(0.1, 1.0, 0.0), solarise_p=(0.0, 0.2, 0.0)
    )
    global_, local = views.draw(2, seeded())
    geometry = {"area", "log_ratio", "position", "flip"}
    assert set(global_) == geometry | {"blur_sigma", "solarise"}
    assert set(local) == geometry


def test_colours_follow_the_drawn_factors(build_policy: BuildPolicy, images: Tensor) -> None:
    views = build_policy("flip", flip_p=0.0, jitter_p=1.0, saturation=0.8)
    (drawn,) = views.draw(6, seeded())
    (result,) = views.apply(images, (drawn,))
    factors = {name: drawn[name].T for name in ("brightness", "contrast", "saturation", "hue")}
    expected = adjust_colour((images / 255).expand(2, -1, -1, -1, -1), **factors).clamp(0, 1)
    torch.testing.assert_close(result, tv.normalize(expected, views.mean, views.std), atol=1e-4, rtol=0)
