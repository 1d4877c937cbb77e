"""Effects on the pixels of a cropped or warped view: colour jitter, grayscale, blur and solarisation, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from sslkit.contracts.options import Options as BaseOptions
from sslkit.contracts.views import ViewGroup
from sslkit.errors import OptionError
from sslkit.views.blur import gaussian_blur
from sslkit.views.colour import LUMA, adjust_colour, solarise
from sslkit.views.option_types import PerView, Probability, Range, Strength
from sslkit.views.sampling import RandomValues, event, uniform

NEVER = 2.0
"""Solarisation threshold above all pixel values, which disables solarisation."""


class EffectOptions(BaseOptions):
    """Options of all built-in view policies: horizontal flip and effects on pixels."""

    flip_p: Probability = 0.5
    """Probability of a horizontal flip."""

    brightness: Strength = 0.4
    """Brightness is multiplied by a random number in 1 ± this value, at least 0."""

    contrast: Strength = 0.4
    """Contrast is multiplied by a random number in 1 ± this value, at least 0."""

    saturation: Strength = 0.2
    """Saturation is multiplied by a random number in 1 ± this value, at least 0; needs RGB."""

    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Largest hue rotation as a fraction of a full turn, in both directions; needs RGB."""

    jitter_p: Probability = 0.8
    """Probability of a random change of brightness, contrast, saturation and hue, all together."""

    grayscale_p: Probability = 0.0
    """Probability of grayscale; needs RGB."""

    blur_p: PerView = 0.0
    """Probability of Gaussian blur: one number for all views, or a list with one number per global view, followed by
    one number for all local views if there are any."""

    blur_sigma: Range = (0.1, 2.0)
    """Smallest and largest sigma of the blur in pixels."""

    solarise_p: PerView = 0.0
    """Probability of solarisation, a number or a list as for blur_p."""

    solarise_threshold: Probability = 0.5
    """Solarisation inverts pixel values in [0, 1] that are at least this value."""

    @field_validator("blur_p", "solarise_p")
    @classmethod
    def _check_length(cls, value: PerView, info: ValidationInfo) -> PerView:
        # info.data does not contain fields that failed their own validation.
        global_views: int | None = info.data.get("views", info.data.get("global_crops"))
        local_views: int | None = 0 if "views" in info.data else info.data.get("local_crops")
        if isinstance(value, float) or global_views is None or local_views is None:
            return value
        expected = global_views + (local_views > 0)
        if len(value) != expected:
            local = " and one for the local crops" if local_views else ""
            raise ValueError(
                f"a list needs {expected} probabilities, one for each of {global_views} global views{local}"
            )
        return value

    def check_channels(self, channels: int) -> None:
        """Check that images have three channels if an effect needs RGB.

        Raises:
            OptionError: an effect needs RGB. The message lists all options to set to 0.
        """
        needs_rgb = {
            "saturation": self.jitter_p > 0 and self.saturation > 0,
            "hue": self.jitter_p > 0 and self.hue > 0,
            "grayscale_p": self.grayscale_p > 0,
        }
        used = [option for option, needed in needs_rgb.items() if needed]
        if used and channels != len(LUMA):
            plural = "" if channels == 1 else "s"
            remedy = ", ".join(f"{option} = 0" for option in used)
            raise OptionError(used[0], f"needs RGB images, but these have {channels} channel{plural}; set {remedy}")


class Effects:
    """Random effects for one view group.

    An effect with probability 0 has no parameters and takes no time. Other effects are computed for all views; views
    without the effect get a neutral parameter (multiplier 1, sigma 0, threshold 2).

    Args:
        options: probabilities and strengths.
        group: the view group.
        weak_views: number of views without effects at the start of the group.
    """

    def __init__(self, options: EffectOptions, group: ViewGroup, weak_views: int = 0) -> None:
        self.options = options
        self.views = group.count
        self.jitter_p, self.grayscale_p, self.blur_p, self.solarise_p = (
            (0.0,) * weak_views + _per_view(probability, group)[weak_views:]
            for probability in (options.jitter_p, options.grayscale_p, options.blur_p, options.solarise_p)
        )

    @property
    def random_values(self) -> list[RandomValues]:
        """Descriptions of the random values to draw for ``combine``, for effects whose probability is above 0."""
        options, shape = self.options, (self.views,)
        values: list[RandomValues] = []

        def factor(name: str, strength: float) -> RandomValues:
            return uniform(name, shape, max(0.0, 1 - strength), 1 + strength)

        if self._changes_colour:
            values.append(event("jittered", self.jitter_p))
            values += [factor("brightness", options.brightness), factor("contrast", options.contrast)]
            if self._changes_chroma:
                values.append(event("gray", self.grayscale_p))
                values.append(factor("saturation", options.saturation))
                values.append(uniform("hue", shape, -options.hue, options.hue))
        if any(self.blur_p):
            values += [uniform("blur_sigma", shape, *options.blur_sigma), event("blurred", self.blur_p)]
        if any(self.solarise_p):
            values.append(event("solarised", self.solarise_p))
        return values

    @property
    def _changes_colour(self) -> bool:
        options = self.options
        jitters = max(options.brightness, options.contrast, options.saturation, options.hue) > 0
        return (options.jitter_p > 0 and jitters) or options.grayscale_p > 0

    @property
    def _changes_chroma(self) -> bool:
        return self.options.grayscale_p > 0 or self.options.saturation > 0 or self.options.hue > 0

    def combine(self, drawn: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Combine drawn ``random_values`` ``[n, V]`` into the parameters of ``apply_effects``.

        Views without an effect get its neutral parameter. The drawn values are overwritten. Other tensors in ``drawn``
        are returned as they are.
        """
        drawn = dict(drawn)
        if self._changes_colour:
            constant = ~drawn.pop("jittered")
            for name in ("brightness", "contrast"):
                drawn[name].masked_fill_(constant, 1.0)
            if self._changes_chroma:
                drawn["saturation"].masked_fill_(constant, 1.0).masked_fill_(drawn.pop("gray"), 0.0)
                drawn["hue"].masked_fill_(constant, 0.0)
        if any(self.blur_p):
            drawn["blur_sigma"].mul_(drawn.pop("blurred"))
        if any(self.solarise_p):
            drawn["solarise"] = torch.where(drawn.pop("solarised"), self.options.solarise_threshold, NEVER)
        return drawn


def _per_view(value: PerView, group: ViewGroup) -> tuple[float, ...]:
    if isinstance(value, float):
        return (value,) * group.count
    return value[: group.count] if group.is_global else value[-1:] * group.count


def apply_effects(views: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """Apply effects to views ``[V, B, C, S, S]`` and clamp values to [0, 1]; each parameter is ``[B, V]``."""
    by_view = {name: value.transpose(0, 1) for name, value in parameters.items()}
    if "brightness" in by_view:
        colour = (by_view["brightness"], by_view["contrast"], by_view.get("saturation"), by_view.get("hue"))
        views = adjust_colour(views, *colour)
    views = views.clamp_(0, 1)
    if "blur_sigma" in by_view:
        views = gaussian_blur(views.flatten(0, 1), by_view["blur_sigma"].flatten()).view(views.shape)
    if "solarise" in by_view:
        views = solarise(views, by_view["solarise"])
    return views
