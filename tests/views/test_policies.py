"""What every policy promises, whatever it does to pixels."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from sslkit.contracts.views import Parameters, ViewGroup, Views, slice_parameters
from sslkit.views.colour import adjust_colour
from sslkit.views.geometry import crop_boxes, resize_shorter

Build = Callable[..., Views]

EVERYTHING: dict[str, dict[str, Any]] = {
    "crops": {"local_crops": 3, "blur_p": (0.5, 1.0, 0.3), "solarise_p": (0.0, 0.5, 0.5), "interpolation": "bicubic"},
    "affine": {"views": 3, "brightness": 0.3, "contrast": 0.3, "blur_p": 0.5, "flip_p": 0.5},
    "flip": {"jitter_p": 0.8},
}
CASES: list[tuple[str, dict[str, Any]]] = [*((name, {}) for name in EVERYTHING), *EVERYTHING.items()]
every_policy = pytest.mark.parametrize(("policy", "options"), CASES, ids=lambda case: str(case)[:12])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat(parameters: Parameters) -> list[Tensor]:
    return [value for group in parameters for value in group.values()]


class NoSync(TorchDispatchMode):
    """Refuses what makes the host wait for a device, and what copies from it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name()
        if any(part in name for part in ("_local_scalar_dense", "nonzero", "masked_select", "unique")):
            raise AssertionError(f"{name} waits for the device")
        return func(*args, **(kwargs or {}))


@every_policy
def test_views_have_the_promised_shape(build: Build, images: Tensor, policy: str, options: dict[str, Any]) -> None:
    views = build(policy, **options)
    parameters = views.draw(6, seeded())
    assert len(parameters) == len(views.groups)
    for group, drawn, made in zip(views.groups, parameters, views.apply(images, parameters), strict=True):
        assert all(value.shape[:2] == (6, group.count) for value in drawn.values())
        assert made.shape == (group.count, 6, 3, group.size, group.size)
        assert made.dtype == torch.float32
        assert made.is_contiguous()
        assert made.isfinite().all()
        low, high = ((edge - torch.tensor(views.mean)) / torch.tensor(views.std) for edge in (0, 1))
        assert (made >= low[:, None, None] - 1e-4).all()
        assert (made <= high[:, None, None] + 1e-4).all()


@every_policy
def test_draw_uses_only_its_generator(build: Build, policy: str, options: dict[str, Any]) -> None:
    views = build(policy, **options)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = flat(views.draw(5, seeded(7)))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = flat(views.draw(5, seeded(7))), flat(views.draw(5, seeded(8)))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@every_policy
def test_apply_draws_nothing_and_repeats(build: Build, images: Tensor, policy: str, options: dict[str, Any]) -> None:
    views = build(policy, **options)
    parameters = views.draw(6, seeded())
    kept, pixels, state = [value.clone() for value in flat(parameters)], images.clone(), torch.get_rng_state()
    first, second = views.apply(images, parameters), views.apply(images, parameters)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, pixels)
    assert all(torch.equal(a, b) for a, b in zip(kept, flat(parameters), strict=True))


@every_policy
def test_a_slice_of_the_batch_gives_its_slice(
    build: Build, images: Tensor, policy: str, options: dict[str, Any]
) -> None:
    views = build(policy, **options)
    parameters = views.draw(6, seeded())
    whole = views.apply(images, parameters)
    for start, stop in ((0, 6), (2, 5), (5, 6)):
        part = views.apply(images[start:stop], slice_parameters(parameters, start, stop))
        for a, b in zip(whole, part, strict=True):
            # In units of a standard deviation, 0.1 to 0.3 here; solarisation may fall on either side of its threshold.
            assert torch.allclose(a[:, start:stop], b, atol=1e-5)


@every_policy
def test_apply_never_waits_for_the_device(build: Build, images: Tensor, policy: str, options: dict[str, Any]) -> None:
    views = build(policy, **options)
    parameters = views.draw(6, seeded())
    with NoSync():
        views.draw(6, seeded())
        views.apply(images, parameters)


@every_policy
def test_apply_runs_where_the_images_are(build: Build, images: Tensor, policy: str, options: dict[str, Any]) -> None:
    views = build(policy, **options)
    drawn = views.draw(6, seeded())
    parameters = tuple({name: value.to("meta") for name, value in group.items()} for group in drawn)
    made = views.apply(images.to("meta"), parameters)
    assert [view.device.type for view in made] == ["meta"] * len(views.groups)
    assert [view.shape for view in made] == [view.shape for view in views.apply(images, drawn)]


@every_policy
def test_autocast_and_gradients_do_not_matter(
    build: Build, images: Tensor, policy: str, options: dict[str, Any]
) -> None:
    views = build(policy, **options)
    parameters = views.draw(6, seeded())
    expected = views.apply(images, parameters)
    for surroundings in (torch.autocast("cpu", torch.bfloat16), torch.inference_mode(), nullcontext()):
        with surroundings:
            made = views.apply(images, parameters)
        assert all(torch.equal(a, b) for a, b in zip(expected, made, strict=True))
    assert not any(view.requires_grad for view in made)


@pytest.mark.parametrize(
    ("policy", "options"),
    [
        ("crops", EVERYTHING["crops"]),
        ("affine", EVERYTHING["affine"]),
        ("crops", {"jitter_p": 0.0, "grayscale_p": 0.0, "flip_p": 0.0, "local_crops": 2}),
        ("affine", {}),
    ],
)
def test_every_image_and_every_view_is_its_own(
    build: Build, images: Tensor, policy: str, options: dict[str, Any]
) -> None:
    views = build(policy, **options)
    same = images[:1].expand(6, -1, -1, -1)
    for made in views.apply(same, views.draw(6, seeded())):
        distinct = made.flatten(0, 1).flatten(1).unique(dim=0)
        assert len(distinct) == made.shape[0] * made.shape[1]


def test_flip_mirrors_the_whole_image_and_normalises(build: Build, images: Tensor) -> None:
    views = build("flip")
    parameters = views.draw(6, seeded())
    (made,) = views.apply(images, parameters)
    mean, std = (torch.tensor(value)[:, None, None] for value in (views.mean, views.std))
    assert 0 < parameters[0]["flip"].mean() < 1
    for b in range(6):
        for v in range(2):
            image = images[b].flip(-1) if parameters[0]["flip"][b, v] else images[b]
            assert torch.allclose(made[v, b], (image / 255 - mean) / std, atol=1e-5)


def test_effects_come_in_the_papers_order(build: Build) -> None:
    # A black and white edge that is blurred first has grays near the threshold for solarisation to invert.
    image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    image[..., 16:] = 255
    nothing = {"global_scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip_p": 0.0, "jitter_p": 0.0, "grayscale_p": 0.0}
    views = build("crops", **nothing, blur_p=1.0, blur_sigma=(2.0, 2.0), solarise_p=1.0)
    (made,) = views.apply(image, views.draw(1, seeded()))
    pixels = made * torch.tensor(views.std)[:, None, None] + torch.tensor(views.mean)[:, None, None]
    assert pixels.max() < 0.5
    assert pixels[..., 15].min() > 0.3
    assert pixels[..., [0, 31]].max() < 1e-4


def test_colours_are_clamped_before_normalisation(build: Build) -> None:
    white = torch.full((4, 3, 32, 32), 255, dtype=torch.uint8)
    views = build("flip", jitter_p=1.0, brightness=1.0, contrast=0.0, saturation=0.0, hue=0.0)
    parameters = views.draw(4, seeded())
    (made,) = views.apply(white, parameters)
    brightness = parameters[0]["brightness"].T.clamp(max=1)[..., None, None, None]
    mean, std = (torch.tensor(value)[:, None, None] for value in (views.mean, views.std))
    assert torch.allclose(made, ((brightness - mean) / std).expand_as(made), atol=1e-5)


@pytest.mark.parametrize("policy", ["crops", "flip", "affine"])
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_channel_counts_work_without_colour(build: Build, policy: str, channels: int) -> None:
    gray = {"saturation": 0.0, "hue": 0.0} if policy != "affine" else {}
    more = {"grayscale_p": 0.0, "blur_p": 0.5, "solarise_p": 0.5} if policy == "crops" else {}
    views = build(policy, channels=channels, jitter_p=0.8, **gray, **more)
    images = torch.randint(0, 256, (3, channels, 32, 32), dtype=torch.uint8, generator=seeded())
    (made,) = views.apply(images, views.draw(3, seeded()))
    assert made.shape == (2, 3, channels, 32, 32)
    assert made.isfinite().all()


@pytest.mark.parametrize("policy", ["crops", "flip", "affine"])
@pytest.mark.parametrize("shape", [(24, 40), (64, 48)])
def test_images_need_not_be_square_or_of_the_views_size(build: Build, policy: str, shape: tuple[int, int]) -> None:
    views = build(policy, image_size=min(shape), size=32)
    images = torch.randint(0, 256, (3, 3, *shape), dtype=torch.uint8, generator=seeded())
    (made,) = views.apply(images, views.draw(3, seeded()))
    assert made.shape == (2, 3, 3, 32, 32)
    assert made.isfinite().all()


def test_groups_are_global_first(build: Build) -> None:
    views = build("crops", image_size=64, global_crops=3, local_crops=4)
    assert views.groups == (ViewGroup(3, 64, True), ViewGroup(4, 36, False))
    assert (views.count, views.global_views, views.size) == (7, 3, 64)
    assert build("crops", size=48, local_crops=1, local_size=20).groups[1] == ViewGroup(1, 20, False)
    assert build("affine", image_size=16, views=4).groups == (ViewGroup(4, 16, True),)
    assert build("flip", size=24).groups == (ViewGroup(2, 24, True),)


def test_an_effect_that_cannot_happen_has_no_parameters(build: Build) -> None:
    views = build(
        "crops", local_crops=2, jitter_p=0.0, grayscale_p=0.0, blur_p=(0.1, 1.0, 0.0), solarise_p=(0.0, 0.2, 0.0)
    )
    global_, local = views.draw(2, seeded())
    geometry = {"area", "log_ratio", "position", "flip"}
    assert set(global_) == geometry | {"blur_sigma", "solarise"}
    assert set(local) == geometry


def test_crops_are_the_boxes_that_were_drawn(build: Build, images: Tensor) -> None:
    views = build("crops", interpolation="bicubic", global_scale=(0.2, 0.6), jitter_p=0.0, grayscale_p=0.0)
    (drawn,) = views.draw(6, seeded())
    (made,) = views.apply(images, (drawn,))
    boxes = crop_boxes(drawn["area"], drawn["log_ratio"], drawn["position"], 32, 32, (3 / 4, 4 / 3))
    assert 0 < drawn["flip"].mean() < 1
    for image, view in product(range(6), range(2)):
        box = [int(edge) for edge in boxes[image, view]]
        mode = InterpolationMode.BICUBIC
        expected = tv.resized_crop(images[image] / 255, *box, [32, 32], mode, antialias=True).clamp(0, 1)
        if drawn["flip"][image, view]:
            expected = expected.flip(-1)
        expected = tv.normalize(expected, views.mean, views.std)
        torch.testing.assert_close(made[view, image], expected, atol=1e-4, rtol=0)


def test_affine_views_are_the_maps_that_were_drawn(build: Build, images: Tensor) -> None:
    options: dict[str, Any] = {"flip_p": 0.5, "padding": "zeros", "jitter_p": 0.0}
    views = build("affine", **options)
    (drawn,) = views.draw(6, seeded())
    (made,) = views.apply(images, (drawn,))
    assert 0 < drawn["flip"].mean() < 1
    for image, view in product(range(6), range(2)):
        place = {name: drawn[name][image, view].tolist() for name in ("angle", "translate", "scale", "shear", "flip")}
        whole = images[image] / 255
        moved = tv.affine(
            whole.flip(-1) if place["flip"] else whole,
            angle=place["angle"],
            translate=[32 * part for part in place["translate"]],
            scale=place["scale"],
            shear=place["shear"],
            interpolation=InterpolationMode.BILINEAR,
        )
        torch.testing.assert_close(made[view, image], tv.normalize(moved, views.mean, views.std), atol=2e-3, rtol=0)
    (smooth,) = build("affine", interpolation="bicubic", **options).apply(images, (drawn,))
    assert (smooth - made).abs().max() > 0.1


@pytest.mark.parametrize("shape", [(48, 72), (72, 48), (20, 30)], ids=str)
def test_affine_views_that_change_nothing_are_the_middle_square(build: Build, shape: tuple[int, int]) -> None:
    """Of the image scaled until its shorter side has the view's size."""
    still = {"degrees": 0.0, "translate": 0.0, "scale": (1.0, 1.0), "shear": 0.0}
    views = build("affine", image_size=min(shape), size=16, **still)
    images = torch.randint(0, 256, (2, 3, *shape), generator=seeded()).to(torch.uint8)
    (made,) = views.apply(images, views.draw(2, seeded()))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (views.mean, views.std))
    wanted = tv.center_crop(resize_shorter(images.float() / 255, 16), [16, 16])
    for view in made:
        torch.testing.assert_close(view * std + mean, wanted, atol=2e-3, rtol=0)


def test_colours_are_those_that_were_drawn(build: Build, images: Tensor) -> None:
    views = build("flip", flip_p=0.0, jitter_p=1.0, saturation=0.8)
    (drawn,) = views.draw(6, seeded())
    (made,) = views.apply(images, (drawn,))
    factors = {name: drawn[name].T for name in ("brightness", "contrast", "saturation", "hue")}
    expected = adjust_colour((images / 255).expand(2, -1, -1, -1, -1), **factors).clamp(0, 1)
    torch.testing.assert_close(made, tv.normalize(expected, views.mean, views.std), atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(24, 40), (40, 24)], ids=str)
def test_flip_views_are_the_middle_square(build: Build, shape: tuple[int, int]) -> None:
    views = build("flip", image_size=24, flip_p=0.0)
    images = torch.randint(0, 256, (2, 3, *shape), generator=seeded()).to(torch.uint8)
    (made,) = views.apply(images, views.draw(2, seeded()))
    wanted = tv.normalize(tv.center_crop(images / 255, [24, 24]), views.mean, views.std)
    for view in made:
        torch.testing.assert_close(view, wanted, atol=1e-4, rtol=0)
