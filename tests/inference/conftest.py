from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from sslkit.api import Run
from sslkit.evaluation.run_subject import RunSubject
from sslkit.inference import forward, resumable_job


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Run:
    """Return a copy of the finished run."""
    return Run(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture(scope="session")
def digits(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose sub-folders contain the run's first 60 test images as files."""
    root = tmp_path_factory.mktemp("digits")
    images = RunSubject(Run(finished_run), "cpu").split("test").images.gather(torch.arange(60))
    for index, image in enumerate(images[:, 0].numpy()):
        path = root / f"train/{index // 10}" / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return root


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the chunk size to 16 files and the batch size to 8."""
    for module in (forward, resumable_job):
        monkeypatch.setattr(module, "CHUNK_SIZE", 16)
    monkeypatch.setattr(forward, "BATCH_SIZE", 8)
