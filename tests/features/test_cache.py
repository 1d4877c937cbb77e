"""The feature cache: keys, damaged entries, size limit, and caches that cannot be written."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from typer.testing import CliRunner

from sslkit.cli.main import app
from sslkit.contracts.dataset import Split
from sslkit.data.store import TensorStore
from sslkit.evaluation import run_subject
from sslkit.evaluation.build_evaluators import build_evaluators
from sslkit.evaluation.evaluate import evaluate
from sslkit.features import cache as feature_cache
from sslkit.features import frozen
from sslkit.features.cache import cache_key, load_or_compute
from sslkit.recipe.load import load_recipe
from sslkit.runs.run import Run
from sslkit.training.train import train

PIXELS = torch.arange(48, dtype=torch.uint8).view(4, 3, 2, 2)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the entries of this test."""
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def key(weight: float = 1.0, pixels: Tensor = PIXELS, **settings: object) -> str:
    layer = nn.Linear(2, 1)
    nn.init.constant_(layer.weight, weight)
    nn.init.zeros_(layer.bias)
    return cache_key([layer], TensorStore(pixels), {"size": 2} | settings)


def test_the_key_depends_on_weights_pixels_and_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [key(), key(1.5), key(pixels=PIXELS.flip(0)), key(size=3), key(mean=(0.5,))]
    monkeypatch.setattr(feature_cache, "HASH_BLOCK_BYTES", 12)
    keys.append(key())
    assert keys[-1] != keys[0]  # the shapes of the blocks are hashed too
    assert len(set(keys)) == 6
    assert keys[-1] == key()


def test_the_key_depends_on_all_source_files_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "third_party_network"
    (package / "deep" / "operations").mkdir(parents=True)
    for folder in (package, package / "deep", package / "deep" / "operations"):
        (folder / "__init__.py").write_text("")
    (package / "deep" / "layers.py").write_text("from torch import nn\nclass Own(nn.Linear):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    layer = import_module("third_party_network.deep.layers").Own(2, 1)

    def key_with(file: str, source: str) -> str:
        (package / file).write_text(source)
        return cache_key([layer], TensorStore(PIXELS), {})

    for file in ("deep/operations/pooling.py", "helpers.py"):
        assert key_with(file, "a = 1") != key_with(file, "a = 2")
    assert key_with("notes.txt", "a") == key_with("notes.txt", "b")
    (package / ".#layers.py").symlink_to("nobody@nowhere")  # an editor's lock file
    (package / "folder.py").mkdir()
    assert key_with("helpers.py", "a = 1")


def test_a_network_without_a_source_file_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    own = type("Own", (nn.Linear,), {"__module__": "__main__"})
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    assert cache_key([own(2, 1)], TensorStore(PIXELS), {}) == ""


def test_entries_are_computed_once_and_damaged_ones_again_with_a_note(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    notes: list[str] = []

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))

    def compute() -> dict[str, Tensor]:
        calls.append(1)
        return {"features": torch.arange(6.0).view(3, 2), "logits": torch.ones(3, 4)}

    for _ in range(2):
        tensors = load_or_compute("abc", compute, notes)
        assert {key: value.tolist() for key, value in tensors.items()} == {k: v.tolist() for k, v in compute().items()}
    assert (len(calls), notes) == (3, [])  # once by load_or_compute, twice by the line above
    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", refuse)  # the entry is of another user
        load_or_compute("abc", compute, notes)
    assert (len(calls), notes) == (3, [])
    (path,) = folder.iterdir()
    for damage in (lambda data: data[:-1], lambda data: data[:-1] + bytes([data[-1] ^ 1])):
        path.write_bytes(damage(path.read_bytes()))
        before = len(calls)
        assert load_or_compute("abc", compute, notes)["logits"].tolist() == [[1.0] * 4] * 3
        assert len(calls) == before + 1
        assert str(path) in notes[-1]
        assert notes[-1].endswith("they are computed again")
        load_or_compute("abc", compute, notes)
        assert len(calls) == before + 1
    assert "wrong checksum" in notes[-1]
    load_or_compute("", compute, notes)
    assert list(folder.iterdir()) == [path]


def test_the_least_recently_used_entries_are_deleted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compute() -> dict[str, Tensor]:
        return {"features": torch.zeros(100)}

    load_or_compute("a", compute, [])
    size = (folder / "a.safetensors").stat().st_size
    monkeypatch.setattr(feature_cache, "MAX_CACHE_BYTES", 2 * size)
    load_or_compute("b", compute, [])
    for number, own in enumerate("ab"):
        os.utime(folder / f"{own}.safetensors", (number, number))
    load_or_compute("a", compute, [])  # used now
    load_or_compute("c", compute, [])
    assert sorted(path.stem for path in folder.iterdir()) == ["a", "c"]
    monkeypatch.setattr(feature_cache, "MAX_CACHE_BYTES", 100)
    notes: list[str] = []
    load_or_compute("d", compute, notes)
    assert notes == ["the features are not cached: they take 0.0 GiB, the limit is 9.31323e-08 GiB"]
    assert sorted(path.stem for path in folder.iterdir()) == ["a", "c"]
    cleared = CliRunner().invoke(app, ["cache", "clear", "features"])
    assert cleared.stdout.startswith(f"deleted {2 * size / 1e6:.1f} MB: ")
    assert not folder.exists()


def test_a_cache_that_cannot_be_written_is_noted(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("in the way")
    notes: list[str] = []
    assert load_or_compute("a", lambda: {"features": torch.ones(2)}, notes)["features"].tolist() == [1, 1]
    assert notes == [f"the features are not cached: {folder} cannot be written: File exists"]


def test_a_full_disk_is_noted_and_entries_are_readable_by_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compute() -> dict[str, Tensor]:
        return {"features": torch.ones(2)}

    before = os.umask(0o022)
    try:
        load_or_compute("a", compute, [])
    finally:
        os.umask(before)
    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o644

    def full(*arguments: object, **named: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(feature_cache, "save_file", full)
    notes: list[str] = []
    assert load_or_compute("b", compute, notes)["features"].tolist() == [1, 1]
    assert notes == [
        f"the features are not cached: {folder} cannot be written: I/O error: No space left on device (os error 28)"
    ]
    assert list(folder.iterdir()) == [path]


def test_features_of_a_run_are_computed_once(
    tiny: Path, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(load_recipe(tiny, ["train.epochs=1", "monitor.every_epochs=0"]), tmp_path / "runs")
    original: Callable[..., object] = frozen.extract_features
    calls: list[int] = []

    def counted(*arguments: object, **named: object) -> object:
        calls.append(1)
        return original(*arguments, **named)

    monkeypatch.setattr(frozen, "extract_features", counted)
    options = {"cluster": {"kmeans_restarts": 1}}
    first = evaluate(run, build_evaluators(options), baselines=["random"])
    assert len(calls) == 4  # train and test, trained and untrained
    again = evaluate(run, build_evaluators(options), baselines=["random"])
    assert (len(calls), again) == (4, first)
    for path in folder.iterdir():
        path.write_bytes(b"?")
    repaired = evaluate(run, build_evaluators(options), baselines=["random"])
    assert len(calls) == 8
    assert [note.partition(" /")[0] for note in repaired.notes] == ["the cached features"] * 4
    assert repaired.evaluators == first.evaluators


def test_cached_features_do_not_depend_on_the_head(finished_run: Path, tmp_path: Path, folder: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(finished_run, other, symlinks=True)
    recipe = (other / "recipe.toml").read_text()
    assert recipe.count('activation = "leaky-relu"') == 1
    (other / "recipe.toml").write_text(recipe.replace('activation = "leaky-relu"', 'activation = "gelu"'))
    first, second = (run_subject.RunSubject(Run(path), "cpu").features("test") for path in (finished_run, other))
    assert len(list(folder.iterdir())) == 1
    assert torch.equal(first.features, second.features)


def test_the_checksum_of_a_split_depends_on_every_pixel_and_label(finished_run: Path) -> None:
    def checksum(pixel: int = 0, label: int = 0) -> str:
        own = run_subject.RunSubject(Run(finished_run), "cpu")
        test = own.split("test")
        assert test.labels is not None
        pixels, labels = test.images.gather(torch.arange(len(test.images))), test.labels.clone()
        pixels[0, 0, 0, 0] += pixel
        labels[-1] = (labels[-1] + label) % 10
        own._splits["test"] = Split(TensorStore(pixels), labels)
        return own.checksum("test")

    assert checksum() == checksum() == run_subject.RunSubject(Run(finished_run), "cpu").checksum("test")
    assert len({checksum(), checksum(pixel=1), checksum(label=1)}) == 3
