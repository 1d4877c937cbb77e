"""Values drawn together: their bits, and the constants that steps share."""

from __future__ import annotations

import torch

from sslkit.testing.fake_device import fake_device
from sslkit.views.sampling import RandomValues, draw_together, event, uniform

VALUES = [
    RandomValues("area", (2, 3), ((0.2, 1.0), (0.5, 0.6))),
    event("flip", (1.0, 0.3)),
    uniform("hue", (2,), -1, 1),
]


def test_values_drawn_together_equal_separate_draws() -> None:
    drawn = draw_together(VALUES, 5, torch.Generator().manual_seed(2))
    generator = torch.Generator().manual_seed(2)
    area, flip, hue = (torch.rand(shape, generator=generator) for shape in ((5, 2, 3), (5, 2), (5, 2)))
    low, span = torch.tensor([0.2, 0.5])[:, None], torch.tensor([1.0 - 0.2, 0.6 - 0.5])[:, None]
    expected = {"area": area * span + low, "flip": flip < torch.tensor([1.0, 0.3]), "hue": hue * 2 - 1}
    assert list(drawn) == list(expected)
    for name, values in expected.items():
        torch.testing.assert_close(drawn[name], values, rtol=0, atol=0)


def test_draws_on_the_fake_device_share_no_tensor_with_other_draws() -> None:
    generator = torch.Generator()
    for _ in range(2):
        with fake_device():
            assert draw_together(VALUES, 7, generator)["area"].shape == (7, 2, 3)
        assert type(draw_together(VALUES, 7, generator)["area"]) is torch.Tensor
