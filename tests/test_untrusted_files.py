"""Untrusted weights, recipes, addresses and images are refused or skipped. No code is executed, and nothing is
downloaded."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from malicious_files import EMPTY_PICKLE, MARKER, PAYLOAD, CallWhenUnpickled, torch_archive
from PIL import Image
from safetensors.torch import save

from sslkit.data.datasets.image_folder import ImageFolder
from sslkit.errors import RecipeError, RunError
from sslkit.recipe.load import load_recipe
from sslkit.runs.find import find_run
from sslkit.runs.run import Run
from sslkit.runs.weights import load_weights
from sslkit.runs.weights_header import read_metadata
from sslkit.trained.backbone import load_backbone
from sslkit.training.checkpoint.checkpoint_files import load_checkpoint
from sslkit.training.train import train


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def weight(shape: list[int], end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"weight": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}}


def with_metadata(value: Any) -> dict[str, Any]:
    text = value if isinstance(value, str) else json.dumps(value)
    return {"__metadata__": {"sslkit": text}} | weight([2, 2], 16)


CONTEXT = {
    "channels": 1,
    "image_size": 8,
    "mean": [0.0],
    "std": [1.0],
    "batch_size": 2,
    "steps_per_epoch": 1,
    "epochs": 1,
}
PREPROCESSING = {"image_size": 8, "mean": [0.0], "std": [1.0]}

WEIGHTS: dict[str, bytes] = {
    "a header longer than the file": safetensors({}, length=2**62),
    "a header of no length": b"\x00" * 8,
    "a header that is no JSON": safetensors(b"import os"),
    "an absurd shape": safetensors(weight([2**40, 2**40], 16), bytes(16)),
    "a shape that is less than its bytes": safetensors(weight([1], 16), bytes(16)),
    "offsets beyond the file": safetensors(weight([2, 2], 2**50), bytes(16)),
    "negative offsets": safetensors({"weight": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, bytes(16)),
    "an unknown type": safetensors(weight([2, 2], 16, "OBJECT"), bytes(16)),
    "a truncated file": save({"weight": torch.zeros(2, 2)})[:-3],
    "a pickle with that name": pickle.dumps(CallWhenUnpickled(exec, PAYLOAD)),
    "no metadata": save({"weight": torch.zeros(2, 2)}),
    "metadata that are no JSON": safetensors(with_metadata("{"), bytes(16)),
    "metadata that are no table": safetensors(with_metadata([1]), bytes(16)),
    "metadata nested without end": safetensors(with_metadata("[" * 100_000), bytes(16)),
    "no facts": safetensors(with_metadata({"sslkit": 1}), bytes(16)),
    "facts of another kind": safetensors(with_metadata({"context": {"channels": 1, "evil": 2}}), bytes(16)),
    "a component by file": safetensors(
        with_metadata({"context": CONTEXT, "backbone": {"use": "./evil.py:Backbone"}} | PREPROCESSING), bytes(16)
    ),
    "a component by module": safetensors(
        with_metadata({"context": CONTEXT, "backbone": {"use": "os:system"}} | PREPROCESSING), bytes(16)
    ),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_malicious_weights_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = Run.create(tmp_path / "runs", "x")
    run.write_status("finished", 1, 1, 1, 1)
    run.backbone.write_bytes(WEIGHTS[name])
    with pytest.raises(Exception) as error:  # noqa: PT011 - the class is checked below
        load_backbone(run.path)
    assert type(error.value).__module__ == "sslkit.errors"
    assert str(error.value)
    assert not (tmp_path / MARKER).exists()


def test_pipes_and_addresses_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunError, match="it is not a regular file"):
        load_checkpoint(tmp_path / "pipe")
    with pytest.raises(RunError, match="it is not a regular file"):
        read_metadata(tmp_path / "pipe")
    with pytest.raises(RunError, match="it is not a regular file"):
        load_weights(torch.nn.Linear(1, 1), tmp_path / "pipe")
    for address in ("https://example.org/x.ckpt", "s3://bucket/x.ckpt", "file:///etc/passwd"):
        with pytest.raises(RunError, match=r"there is no checkpoint"):
            load_checkpoint(Path(address))
        with pytest.raises(RunError, match=r"there is no run '"):
            find_run(address, tmp_path)
        with pytest.raises(RecipeError, match=r"there is no such file"):
            load_recipe(Path(address))


RECIPES = {
    "a module for a component": 'loss.use="os:system"',
    "a file for a component": 'loss.use="./evil.py"',
    "an expression": "optimizer.lr=\"__import__('os').system('touch executed')\"",
    "an attribute": "loss.__class__=1",
    "a target": 'loss._target_="os.system"',
    "another distribution's name": 'backbone.use="../../evil:resnet18"',
    "data from the network": 'data={use="image-folder", root="https://example.org/images"}',
    "a path as the run's name": 'run.name="../../executed"',
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_cannot_name_code(name: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil.py").write_text(PAYLOAD)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception) as error:  # noqa: PT011 - the class is checked below
        train(load_recipe(tiny, [RECIPES[name]]), tmp_path / "runs")
    assert type(error.value).__module__ == "sslkit.errors"
    assert not list(tmp_path.rglob(MARKER))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_file(width: int, height: int, *chunks: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def noise_image(format_name: str, size: int = 12) -> bytes:
    data = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(data, format_name)
    return data.getvalue()


def nan_image() -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.full((12, 12), np.nan, np.float32)).save(data, "TIFF")
    return data.getvalue()


INVALID_IMAGES: dict[str, bytes | None] = {
    "empty.png": b"",
    "text.jpg": b"<html>404</html>",
    "archive.png": torch_archive(EMPTY_PICKLE),
    "truncated.png": noise_image("PNG")[:100],
    "truncated.jpg": noise_image("JPEG")[:200],
    "truncated.gif": noise_image("GIF")[:60],
    "bomb.png": png_file(60_000, 60_000, chunk(b"IDAT", zlib.compress(bytes(1000)))),
    "text-bomb.png": png_file(12, 12, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000)))),
    "no-pixels.png": png_file(12, 12),
    "numbers.tif": nan_image(),
    "script.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\n(executed) (w) file\n",
    "pipe.png": None,
    "nowhere.png": None,
}


def test_a_folder_with_five_percent_invalid_files_trains_and_lists_each_once(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "images"
    root.mkdir()
    for name, content in INVALID_IMAGES.items():
        if content is not None:
            (root / name).write_bytes(content)
    os.mkfifo(root / "pipe.png")
    (root / "nowhere.png").symlink_to(root / "gone.png")
    for number in range(len(INVALID_IMAGES) * 19):
        (root / f"{number}.bmp").write_bytes(noise_image("BMP"))
    dataset = ImageFolder(ImageFolder.Options(root=root))
    assert len(dataset.load("train").images) == len(INVALID_IMAGES) * 19
    broken = {item["file"]: item["reason"] for item in dataset.report()["broken"]}
    assert broken.keys() == INVALID_IMAGES.keys()
    assert all(broken.values())
    assert broken["pipe.png"] == "it is not a regular file"
    assert broken["bomb.png"] == "more than the limit of 100,000,000 pixels"
    notes = "\n".join(dataset.notes())
    assert all(notes.count(f"  {name}: ") == 1 for name in INVALID_IMAGES)
    settings = [f'data={{use="image-folder", root="{root}", channels=1, size=8}}', "backbone.width=4"]
    run = train(load_recipe(tiny, [*settings, "train.batch_size=247", "train.epochs=1"]), tmp_path / "runs")
    record = json.loads(run.provenance.read_text())
    assert record["training_images"] == len(INVALID_IMAGES) * 19
    assert {item["file"] for item in record["data"]["broken"]} == INVALID_IMAGES.keys()
