"""Fixtures of the view policy tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sslkit.contracts.context import Context
from sslkit.contracts.views import Views
from sslkit.views.affine import Affine
from sslkit.views.crops import Crops
from sslkit.views.flip import Flip

BuildPolicy = Callable[..., Views]
POLICIES = {"crops": Crops, "affine": Affine, "flip": Flip}


@pytest.fixture
def build_policy() -> BuildPolicy:
    def build(policy: str, channels: int = 3, image_size: int = 32, **options: Any) -> Views:
        mean, std = (0.4, 0.5, 0.6, 0.7)[:channels], (0.1, 0.2, 0.3, 0.4)[:channels]
        context = Context(channels, image_size, mean, std, batch_size=8, steps_per_epoch=1, epochs=1)
        cls = POLICIES[policy]
        return cls(cls.Options(**options), context)

    return build


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
