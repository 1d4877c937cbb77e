"""What happens to a view's pixels after it is cut out: jitter, grayscale, blur and solarisation, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sslkit.errors import OptionError
from sslkit.views.blur import gaussian_blur
from sslkit.views.colour import LUMA, adjust_colour, solarise
from sslkit.views.sampling import happens, uniform

NEVER = 2.0
"""A solarisation threshold that no value reaches."""


@dataclass(frozen=True)
class Effects:
    """The effects of one view group.

    An effect that never happens has no parameters and costs nothing.  One that does not happen to some view has
    parameters that change nothing (a factor of 1, a sigma of 0, a threshold of 2), so that no view waits for a choice.

    Attributes:
        brightness: brightness factors are uniform in ``[max(0, 1 - brightness), 1 + brightness]``; likewise
        contrast: and
        saturation: are.
        hue: hues are uniform in ``[-hue, hue]`` turns.
        jitter_p: probability of these four, together.
        grayscale_p: probability of grayscale.
        blur_p: for each view, probability of blur.
        blur_sigma: smallest and largest sigma in pixels.
        solarise_p: for each view, probability of solarisation.
        solarise_threshold: values from here up are inverted.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    jitter_p: float = 0.0
    grayscale_p: float = 0.0
    blur_p: tuple[float, ...] = ()
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarise_p: tuple[float, ...] = ()
    solarise_threshold: float = 0.5

    def require_channels(self, channels: int) -> None:
        """Refuse effects that need red, green and blue where there are other channels.

        Raises:
            OptionError: on the first of them; the message says how to switch off all of them.
        """
        jitters = self.jitter_p > 0
        needs = {
            "saturation": jitters and self.saturation > 0,
            "hue": jitters and self.hue > 0,
            "grayscale_p": self.grayscale_p > 0,
        }
        found = [option for option, needed in needs.items() if needed]
        if found and channels != len(LUMA):
            plural = "" if channels == 1 else "s"
            remedy = ", ".join(f"{option} = 0" for option in found)
            raise OptionError(found[0], f"needs RGB images, but these have {channels} channel{plural}; set {remedy}")

    def draw(self, n: int, views: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Parameters ``[n, views]`` of the effects that can happen."""
        drawn: dict[str, Tensor] = {}
        if (self.jitter_p > 0 and max(self.brightness, self.contrast, self.saturation, self.hue) > 0) or (
            self.grayscale_p > 0
        ):
            drawn |= self._draw_colour(n, views, generator)
        if any(self.blur_p):
            sigma = uniform((n, views), generator, *self.blur_sigma)
            drawn["blur_sigma"] = sigma.mul_(happens(n, self.blur_p, generator))
        if any(self.solarise_p):
            solarised = happens(n, self.solarise_p, generator)
            drawn["solarise"] = torch.where(solarised, self.solarise_threshold, NEVER)
        return drawn

    def _draw_colour(self, n: int, views: int, generator: torch.Generator) -> dict[str, Tensor]:
        jittered = happens(n, (self.jitter_p,) * views, generator)

        def factor(strength: float) -> Tensor:
            drawn = uniform((n, views), generator, max(0.0, 1 - strength), 1 + strength)
            return torch.where(jittered, drawn, 1.0)

        drawn = {"brightness": factor(self.brightness), "contrast": factor(self.contrast)}
        if self.grayscale_p > 0 or self.saturation > 0 or self.hue > 0:
            gray = happens(n, (self.grayscale_p,) * views, generator)
            drawn["saturation"] = factor(self.saturation).masked_fill_(gray, 0.0)
            drawn["hue"] = uniform((n, views), generator, -self.hue, self.hue).mul_(jittered)
        return drawn


def apply_effects(views: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """The effects with ``parameters`` (``[B, V]`` each) on ``views`` ``[V, B, C, S, S]``, clamped to 0..1."""
    turned = {name: value.transpose(0, 1) for name, value in parameters.items()}
    if "brightness" in turned:
        colour = (turned["brightness"], turned["contrast"], turned.get("saturation"), turned.get("hue"))
        views = adjust_colour(views, *colour)
    views = views.clamp_(0, 1)
    if "blur_sigma" in turned:
        views = gaussian_blur(views.flatten(0, 1), turned["blur_sigma"].flatten()).view(views.shape)
    if "solarise" in turned:
        views = solarise(views, turned["solarise"])
    return views
