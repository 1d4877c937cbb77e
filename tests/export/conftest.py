from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from torch import nn

from sslkit.api import Run
from sslkit.runs.weights import save_weights
from sslkit.runs.weights_header import read_metadata
from sslkit.trained.network import TrainedNetwork


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Run:
    """Copy of the finished run."""
    return Run(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture
def with_backbone(run: Run) -> Callable[..., Run]:
    """Function that returns a run with a given backbone, random weights and BatchNorm statistics, and no head."""

    def build(use: str, size: int = 64, channels: int = 3, **options: Any) -> Run:
        recipe = tomllib.loads(run.recipe.read_text())
        del recipe["head"]
        table = recipe["backbone"] = {"use": use, **options}
        run.recipe.write_text(tomli_w.dumps(recipe))
        own = {"mean": [0.4, 0.5, 0.6][:channels], "std": [0.2, 0.3, 0.25][:channels], "channels": channels}
        metadata = read_metadata(run.backbone) | own | {"image_size": size, "backbone": table}
        metadata["context"] |= own | {"image_size": size, "view_size": size}
        save_weights(nn.Identity(), run.backbone, metadata)
        backbone = TrainedNetwork(run, "cpu", weights="random").backbone
        for name, value in backbone.named_buffers():
            if name.endswith("running_mean"):
                nn.init.normal_(value)
        save_weights(backbone, run.backbone, metadata | {"feature_dim": backbone.feature_dim})
        return run

    return build
