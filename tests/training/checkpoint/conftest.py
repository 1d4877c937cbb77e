from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sslkit.recipe.load import load_recipe
from sslkit.runs.run import Run
from sslkit.training.train import train

SETTINGS = ("backbone.width=4", "loss.queue_size=512", "train.checkpoint_every=1 steps", "train.keep_checkpoints=3")


@pytest.fixture(scope="session")
def settings() -> tuple[str, ...]:
    """Settings for a small backbone, a queue and a checkpoint after each step, of which three are kept."""
    return SETTINGS


@pytest.fixture(scope="session")
def uninterrupted(tiny_recipe_text: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Finished run of ten steps with these settings."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "tiny.toml").write_text(tiny_recipe_text)
    return train(load_recipe(folder / "tiny.toml", SETTINGS), folder / "runs")


@pytest.fixture
def stopped(uninterrupted: Run, tmp_path: Path) -> Run:
    """Copy of the run that looks as if it was stopped after its last step, before its weights were written."""
    run = Run(tmp_path / "runs" / "tiny" / uninterrupted.path.name)
    shutil.copytree(uninterrupted.path, run.path, symlinks=True)
    run.backbone.unlink()
    run.write_status("interrupted", 10, 10, 2, 2)
    return run
