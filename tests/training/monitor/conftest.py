from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def tiny_recipe_text(tiny_recipe_text: str) -> str:
    """Return the tiny recipe with a smaller backbone, which trains in half of the time."""
    return tiny_recipe_text.replace('use = "convnet"\n', 'use = "convnet"\nwidth = 4\n')
