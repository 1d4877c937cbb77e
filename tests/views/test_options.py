"""Validation of the policies' options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from sslkit.contracts.options import Options
from sslkit.contracts.views import Views
from sslkit.errors import OptionError
from sslkit.views.affine import Affine
from sslkit.views.crops import Crops
from sslkit.views.flip import Flip

BuildPolicy = Callable[..., Views]


@pytest.mark.parametrize("policy", [Crops, Affine, Flip])
def test_every_option_is_described_and_survives_a_round_trip(policy: type[Views]) -> None:
    assert policy.api == 2
    assert issubclass(policy.Options, Options)
    assert [name for name, field in policy.Options.model_fields.items() if not field.description] == []
    options = policy.Options()
    assert policy.Options.model_validate_json(options.model_dump_json()) == options


@pytest.mark.parametrize(
    ("policy", "options", "key", "message"),
    [
        (Crops, {"global_crops": 0}, "global_crops", "greater than or equal to 1"),
        (Crops, {"global_scale": (0.5, 0.2)}, "global_scale", "the smaller value must come first: [0.2, 0.5]"),
        (Crops, {"global_scale": (0.0, 1.0)}, "global_scale", "greater than 0"),
        (Crops, {"global_scale": (0.2, 1.5)}, "global_scale", "less than or equal to 1"),
        (Crops, {"ratio": (2.0, 1.0)}, "ratio", "the smaller value must come first: [1, 2]"),
        (Crops, {"hue": 0.6}, "hue", "less than or equal to 0.5"),
        (Crops, {"flip_p": 1.5}, "flip_p", "less than or equal to 1"),
        (Crops, {"blur_p": 1.5}, "blur_p", "less than or equal to 1"),
        (Crops, {"blur_p": (0.1,)}, "blur_p", "a list needs 2 probabilities, one for each of 2 global views"),
        (
            Crops,
            {"local_crops": 6, "solarise_p": (0.0, 0.2)},
            "solarise_p",
            "a list needs 3 probabilities, one for each of 2 global views and one for the local crops",
        ),
        (Crops, {"interpolation": "nearest"}, "interpolation", "'bilinear' or 'bicubic'"),
        (Crops, {"size": "large"}, "size", "'auto'"),
        (Crops, {"grayscale": 0.2}, "grayscale", "not permitted"),
        (
            Affine,
            {"views": 3, "blur_p": (0.1,)},
            "blur_p",
            "a list needs 3 probabilities, one for each of 3 global views",
        ),
        (Affine, {"padding": "wrap"}, "padding", "'border', 'zeros' or 'reflection'"),
        (Affine, {"scale": (0.0, 1.0)}, "scale", "greater than 0"),
        (Affine, {"shear": 90.0}, "shear", "less than or equal to 60"),
        (Flip, {"views": 0}, "views", "greater than or equal to 1"),
    ],
)
def test_invalid_options_raise(policy: type[Views], options: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        policy.Options(**options)
    errors = [error for error in caught.value.errors() if error["loc"][0] == key]
    assert any(message in error["msg"] for error in errors), errors


def test_a_probability_is_one_number_or_a_list_per_view() -> None:
    assert Crops.Options(blur_p=1).blur_p == 1.0
    assert Crops.Options.model_validate_json('{"blur_p": [0.1, 1]}').blur_p == (0.1, 1.0)
    assert Crops.Options(local_crops=6, blur_p=(0.1, 1.0, 0.5)).blur_p == (0.1, 1.0, 0.5)


@pytest.mark.parametrize(
    ("policy", "channels", "options", "message"),
    [
        (
            "crops",
            1,
            {},
            "saturation: needs RGB images, but these have 1 channel; set saturation = 0, hue = 0, grayscale_p = 0",
        ),
        (
            "crops",
            4,
            {"saturation": 0.0, "hue": 0.0},
            "grayscale_p: needs RGB images, but these have 4 channels; set grayscale_p = 0",
        ),
        (
            "flip",
            1,
            {"jitter_p": 0.5, "saturation": 0.0},
            "hue: needs RGB images, but these have 1 channel; set hue = 0",
        ),
        (
            "affine",
            1,
            {"saturation": 0.5},
            "saturation: needs RGB images, but these have 1 channel; set saturation = 0",
        ),
    ],
)
def test_colour_effects_raise_for_images_that_are_not_rgb(
    build_policy: BuildPolicy, policy: str, channels: int, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError) as caught:
        build_policy(policy, channels=channels, **options)
    assert str(caught.value) == message


def test_colour_effects_with_probability_zero_need_no_rgb(build_policy: BuildPolicy) -> None:
    build_policy("flip", channels=1)
    build_policy("crops", channels=1, jitter_p=0.0, grayscale_p=0.0)
    build_policy("affine", channels=1)
