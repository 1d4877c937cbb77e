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
from sslkit.evaluation import run_subject as subject
from sslkit.evaluation.evaluate import build_evaluators, evaluate
from sslkit.recipe.load import load_recipe
from sslkit.runs.run import Run
from sslkit.trained import feature_cache
from sslkit.trained.feature_cache import cached, name
from sslkit.training.train import train

PIXELS = torch.arange(48, dtype=torch.uint8).view(4, 3, 2, 2)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where entries of this test are."""
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def entry(weight: float = 1.0, pixels: Tensor = PIXELS, **preparation: object) -> str:
    layer = nn.Linear(2, 1)
    nn.init.constant_(layer.weight, weight)
    nn.init.zeros_(layer.bias)
    return name([layer], TensorStore(pixels), {"size": 2} | preparation)


def test_the_name_tells_weights_pixels_and_preparation(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [entry(), entry(1.5), entry(pixels=PIXELS.flip(0)), entry(size=3), entry(mean=(0.5,))]
    monkeypatch.setattr(feature_cache, "BLOCK", 12)
    names.append(entry())
    assert names[-1] != names[0]  # the blocks' shapes are hashed too
    assert len(set(names)) == 6
    assert names[-1] == entry()


def test_the_name_tells_code_wherever_in_its_package_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "strangers_network"
    (package / "deep" / "operations").mkdir(parents=True)
    for folder in (package, package / "deep", package / "deep" / "operations"):
        (folder / "__init__.py").write_text("")
    (package / "deep" / "layers.py").write_text("from torch import nn\nclass Own(nn.Linear):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    layer = import_module("strangers_network.deep.layers").Own(2, 1)

    def named(place: str, source: str) -> str:
        (package / place).write_text(source)
        return name([layer], TensorStore(PIXELS), {})

    for place in ("deep/operations/pooling.py", "helpers.py"):
        assert named(place, "a = 1") != named(place, "a = 2")
    assert named("notes.txt", "a") == named("notes.txt", "b")
    (package / ".#layers.py").symlink_to("nobody@nowhere")  # as an editor leaves it
    (package / "folder.py").mkdir()
    assert named("helpers.py", "a = 1")


def test_what_is_written_in_a_notebook_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    own = type("Own", (nn.Linear,), {"__module__": "__main__"})
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    assert name([own(2, 1)], TensorStore(PIXELS), {}) == ""


def test_what_is_made_once_is_read_after_and_damage_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    notes: list[str] = []

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))

    def make() -> dict[str, Tensor]:
        made.append(1)
        return {"features": torch.arange(6.0).view(3, 2), "logits": torch.ones(3, 4)}

    for _ in range(2):
        found = cached("abc", make, notes)
        assert {key: value.tolist() for key, value in found.items()} == {k: v.tolist() for k, v in make().items()}
    assert (len(made), notes) == (3, [])  # once by cached, twice by the line above
    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", refuse)  # another user's
        cached("abc", make, notes)
    assert (len(made), notes) == (3, [])
    (path,) = folder.iterdir()
    for damage in (lambda data: data[:-1], lambda data: data[:-1] + bytes([data[-1] ^ 1])):
        path.write_bytes(damage(path.read_bytes()))
        before = len(made)
        assert cached("abc", make, notes)["logits"].tolist() == [[1.0] * 4] * 3
        assert len(made) == before + 1
        assert str(path) in notes[-1]
        assert notes[-1].endswith("they are computed again")
        cached("abc", make, notes)
        assert len(made) == before + 1
    assert "its checksum is another" in notes[-1]
    cached("", make, notes)
    assert list(folder.iterdir()) == [path]


def test_the_longest_unused_entries_make_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> dict[str, Tensor]:
        return {"features": torch.zeros(100)}

    cached("a", make, [])
    size = (folder / "a.safetensors").stat().st_size
    monkeypatch.setattr(feature_cache, "LIMIT", 2 * size)
    cached("b", make, [])
    for number, own in enumerate("ab"):
        os.utime(folder / f"{own}.safetensors", (number, number))
    cached("a", make, [])  # used now
    cached("c", make, [])
    assert sorted(path.stem for path in folder.iterdir()) == ["a", "c"]
    monkeypatch.setattr(feature_cache, "LIMIT", 100)
    notes: list[str] = []
    cached("d", make, notes)
    assert notes == ["features are not kept, they take 0.0 GiB and the cache 9.31323e-08 at most"]
    assert sorted(path.stem for path in folder.iterdir()) == ["a", "c"]
    cleared = CliRunner().invoke(app, ["cache", "clear", "features"])
    assert cleared.stdout.startswith(f"deleted {2 * size / 1e6:.1f} MB: ")
    assert not folder.exists()


def test_a_cache_that_cannot_be_written_costs_no_figures(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("in the way")
    notes: list[str] = []
    assert cached("a", lambda: {"features": torch.ones(2)}, notes)["features"].tolist() == [1, 1]
    assert notes == [f"features are not kept, {folder} cannot be written: File exists"]


def test_a_full_disk_costs_no_figures_and_entries_are_for_whoever_may_read_the_cache(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make() -> dict[str, Tensor]:
        return {"features": torch.ones(2)}

    before = os.umask(0o022)
    try:
        cached("a", make, [])
    finally:
        os.umask(before)
    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o644

    def full(*arguments: object, **named: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(feature_cache, "save_file", full)
    notes: list[str] = []
    assert cached("b", make, notes)["features"].tolist() == [1, 1]
    assert notes == [
        f"features are not kept, {folder} cannot be written: I/O error: No space left on device (os error 28)"
    ]
    assert list(folder.iterdir()) == [path]


def test_a_run_is_looked_at_once(tiny: Path, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(load_recipe(tiny, ["train.epochs=1", "monitor.every_epochs=0"]), tmp_path / "runs")
    honest: Callable[..., object] = subject.extract_features
    looks: list[int] = []

    def counted(*arguments: object, **named: object) -> object:
        looks.append(1)
        return honest(*arguments, **named)

    monkeypatch.setattr(subject, "extract_features", counted)
    ask = {"cluster": {"kmeans_restarts": 1}}
    first = evaluate(run, build_evaluators(ask), random_baseline=True)
    assert len(looks) == 4  # train and test, trained and untrained
    again = evaluate(run, build_evaluators(ask), random_baseline=True)
    assert (len(looks), again) == (4, first)
    for path in folder.iterdir():
        path.write_bytes(b"?")
    told = evaluate(run, build_evaluators(ask), random_baseline=True)
    assert len(looks) == 8
    assert [note.partition(" /")[0] for note in told.pop("notes")] == ["the cached features"] * 4
    assert told["cluster"] == first["cluster"]


def test_the_name_tells_options_that_neither_weights_nor_code_show(
    finished_run: Path, tmp_path: Path, folder: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(finished_run, other, symlinks=True)
    recipe = (other / "recipe.toml").read_text()
    assert recipe.count('activation = "leaky-relu"') == 1
    (other / "recipe.toml").write_text(recipe.replace('activation = "leaky-relu"', 'activation = "gelu"'))
    for path in (finished_run, other):
        subject.RunSubject(Run(path), "cpu").features("test")
    assert len(list(folder.iterdir())) == 2


def test_a_protocol_s_checksum_tells_one_pixel_and_one_label(finished_run: Path) -> None:
    def digest(pixel: int = 0, label: int = 0) -> str:
        own = subject.RunSubject(Run(finished_run), "cpu")
        test = own.split("test")
        assert test.labels is not None
        pixels, labels = test.images.gather(torch.arange(len(test.images))), test.labels.clone()
        pixels[0, 0, 0, 0] += pixel
        labels[-1] = (labels[-1] + label) % 10
        own._splits["test"] = Split(TensorStore(pixels), labels)
        return own.digest("test")

    assert digest() == digest() == subject.RunSubject(Run(finished_run), "cpu").digest("test")
    assert len({digest(), digest(pixel=1), digest(label=1)}) == 3
