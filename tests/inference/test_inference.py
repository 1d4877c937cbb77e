"""Classes and features of image files: what is written, how it goes on, and names and files that mean harm."""

from __future__ import annotations

import csv
import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy
import pyarrow.parquet
import pytest
import tomli_w
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import sslkit
from sslkit.api import Run
from sslkit.cli.main import app
from sslkit.errors import InputError
from sslkit.evaluation.subject import RunSubject
from sslkit.export.onnx import Outputs
from sslkit.inference import forward, job, tables
from sslkit.inference import predict as inference_run
from sslkit.inference.predict import embed, predict
from sslkit.recipe.check import load_recipe
from sslkit.runs.class_names import write_class_names
from sslkit.runs.weights import read_metadata
from sslkit.trained.network import TrainedNetwork
from sslkit.training.train import train


@pytest.fixture(scope="module")
def trained(finished_run: Path) -> Run:
    return Run(finished_run)


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    return Run(shutil.copytree(trained.path, tmp_path / "run"))


def test_a_network_is_in_the_memory_order_that_is_fastest(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def maps_last() -> set[bool]:
        weights = (p for p in TrainedNetwork(trained, "cpu").backbone.parameters() if p.ndim == 4 and p.shape[1] > 1)
        return {p.is_contiguous(memory_format=torch.channels_last) for p in weights}

    assert maps_last() == {True}
    monkeypatch.setattr("sslkit.trained.network.channels_last", lambda device: False)
    assert maps_last() == {False}


@pytest.fixture(scope="module")
def digits(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's first 60 test images as files, in folders."""
    root = tmp_path_factory.mktemp("digits")
    images = RunSubject(trained, "cpu").split("test").images.gather(torch.arange(60))
    for place, image in enumerate(images[:, 0].numpy()):
        path = root / f"train/{place // 10}" / f"{place:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return root


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (forward, job):
        monkeypatch.setattr(module, "CHUNK", 16)
    monkeypatch.setattr(forward, "BATCH", 8)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_classes_are_those_of_evaluation_and_one_name_is_one_class(run: Run, digits: Path, tmp_path: Path) -> None:
    logits = RunSubject(run, "cpu").features("test").logits
    assert logits is not None
    probabilities = (logits[:60].double() / 0.1).softmax(1)
    found = run.predict(digits, tmp_path / "plain.csv", device="cpu")
    assert (found.images, found.broken, found.broken_file) == (60, 0, None)
    assert found.notes == ("nobody has named the classes: `sslkit label` asks for names",)
    plain = rows(tmp_path / "plain.csv")
    assert list(plain[0]) == ["class", "name", "confidence", "file"]
    assert [row["file"] for row in plain[:2]] == ["train/0/000.png", "train/0/001.png"]
    assert [int(row["class"]) for row in plain] == probabilities.argmax(1).tolist()
    sure = [float(row["confidence"]) for row in plain]
    numpy.testing.assert_allclose(sure, probabilities.max(1).values, atol=2e-6)
    assert {row["name"] for row in plain} == {""}

    # Classes 0 to 4 are one, and 5 has its own name; the others have none.
    write_class_names(run, ["low"] * 5 + ["five", "", "", "", ""])
    assert run.predict(digits, tmp_path / "named.csv", device="cpu").notes == ()
    named = rows(tmp_path / "named.csv")
    groups = torch.cat([probabilities[:, :5].sum(1, keepdim=True), probabilities[:, 5:]], 1)
    numpy.testing.assert_allclose([float(row["confidence"]) for row in named], groups.max(1).values, atol=2e-6)
    assert [row["name"] for row in named] == [["low", "five", "", "", "", ""][place] for place in groups.argmax(1)]
    members = [int(probabilities[at, :5].argmax()) if top == 0 else top + 4 for at, top in enumerate(groups.argmax(1))]
    assert [int(row["class"]) for row in named] == members
    assert not list(tmp_path.glob("*.unfinished"))

    # A run that does not tell its loss's temperature.
    metadata = read_metadata(run.heads)
    metadata["logit_temperature"] = None
    with safe_open(run.heads, framework="pt") as stored:
        weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a dict
    save_file(weights, run.heads, {"sslkit": json.dumps(metadata)})
    note = "the run does not tell at which temperature its loss reads logits: confidence is taken at 1"
    assert run.predict(digits, tmp_path / "untold.csv", device="cpu").notes == (note,)
    write_class_names(run, [""] * 10)
    run.predict(digits, tmp_path / "unnamed.csv", device="cpu")
    sure = [float(row["confidence"]) for row in rows(tmp_path / "unnamed.csv")]
    numpy.testing.assert_allclose(sure, logits[:60].double().softmax(1).max(1).values, atol=2e-6)


@pytest.mark.parametrize("what", [predict, embed], ids=["predict", "embed"])
def test_stopped_anywhere_it_goes_on_to_the_same_bits(
    what: Any, run: Run, digits: Path, tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy := tmp_path / "some").mkdir()
    for path in sorted(digits.rglob("*.png")):
        shutil.copy(path, copy / path.name)
    (copy / "020.png").write_bytes(b"no image")
    whole = tmp_path / "whole"
    assert what(run, copy, whole).images == 59
    out = tmp_path / "out"
    told: list[int] = []
    for stop in (8, 40, 60):

        def stops(done: int, total: int, stop: int = stop) -> None:
            told.append(done)
            if done == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            what(run, copy, out, advance=stops)
        assert not out.exists()
    # What was done before is not done again: 16 files are kept together.
    assert told == [0, 8, *range(0, 41, 8), *range(32, 60, 8), 60]
    (tmp_path / "out.unfinished" / ".000003.safetensors.1.part").write_text("killed here")
    written = what(run, copy, out)
    assert "went on after 48 of 60 files" in written.notes
    assert out.read_bytes() == whole.read_bytes()
    assert rows(tmp_path / "out.broken.csv") == [
        {"file": "020.png", "reason": "not an image, or damaged from the start"}
    ]
    assert not list(tmp_path.glob("*.unfinished"))

    out.unlink()
    (tmp_path / "out.broken.csv").unlink()

    class Full:
        def __init__(self, *arguments: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, suppress(OSError):
        patch.setattr(inference_run, "ParquetFile", Full)
        patch.setattr(inference_run, "choose", Full)
        what(run, copy, out)
    assert not out.exists()
    assert (tmp_path / "out.broken.csv").exists(), "it was written before"
    assert "went on after 60 of 60 files" in what(run, copy, out).notes
    assert out.read_bytes() == whole.read_bytes()

    def late(done: int, total: int) -> None:
        if done == 32:
            raise KeyboardInterrupt

    out.unlink()
    (tmp_path / "out.broken.csv").unlink()
    with pytest.raises(KeyboardInterrupt):
        what(run, copy, out, advance=late)
    (copy / "000.png").unlink()
    written = what(run, copy, out)
    assert written.images == 58
    assert f"{out}.unfinished was of other images or another network: everything was computed anew" in written.notes


def test_what_was_done_for_other_weights_images_or_versions_is_done_anew(
    run: Run, digits: Path, tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(digits, tmp_path / "copy"))
    out = tmp_path / "classes.csv"

    def retrain() -> None:
        metadata = read_metadata(run.backbone) | {"step": 11}
        save_file(load_file(run.backbone), run.backbone, {"sslkit": json.dumps(metadata)})

    def repaint() -> None:
        Image.new("L", (8, 8)).save(copy / "train" / "0" / "000.png")

    def upgrade() -> None:
        other = {"components": ["sslkit-backbones:convnet 9.9"]}
        monkeypatch.setattr(TrainedNetwork, "identity", property(lambda self: other))

    def stops(done: int, total: int) -> None:
        if done == 32:
            raise KeyboardInterrupt

    def update() -> None:
        monkeypatch.setattr(inference_run, "__version__", "9.9")

    for change in (retrain, repaint, upgrade, update):
        with pytest.raises(KeyboardInterrupt):
            predict(run, copy, out, advance=stops)
        change()
        assert any("computed anew" in note for note in predict(run, copy, out).notes)
        out.unlink()
    with pytest.raises(KeyboardInterrupt):
        predict(run, copy, out, advance=stops)
    found = embed(run, copy, out)
    assert any("computed anew" in note for note in found.notes), "logits are no features"
    out.unlink()
    out.with_name("classes.csv.broken.csv").write_text("mine")
    with pytest.raises(sslkit.InputError, match=r"classes\.csv\.broken\.csv is there already"):
        predict(run, copy, out)


def test_what_the_views_normalised_with_counts_not_the_data(run: Run) -> None:
    metadata = read_metadata(run.backbone) | {"mean": [0.25], "std": [0.125]}
    save_file(load_file(run.backbone), run.backbone, {"sslkit": json.dumps(metadata)})
    context = RunSubject(run, "cpu").context
    assert (context.mean, context.std) == ((0.25,), (0.125,))


def test_the_head_and_the_classifier_of_the_recipe_are_meant_everywhere(tiny: Path, tmp_path: Path) -> None:
    plain = "use='selfcls-mlp', hidden_dims=[]"
    heads = f"[{{name='other', {plain}, classifiers=[5]}}, {{name='own', {plain}, classifiers=[7, 7]}}]"
    losses = "[{use='selfcls', name='a', head='other'}, {use='selfcls', name='b', head='own'}]"
    settings = ["data.size=12", "views.size=8", "train.epochs=1", "monitor.every_epochs=0"]
    settings += [f"head={heads}", f"loss={losses}", "evaluation={head='own', classifier=1}"]
    run = Run(train(load_recipe(tiny, settings), tmp_path / "runs").path)
    network, subject = TrainedNetwork(run, "cpu"), RunSubject(run, "cpu")
    assert network.head is not None
    assert (network.head_name, network.classifier, network.head.classifiers) == ("own", 1, (7, 7))
    features, logits = subject.features("test").features[:30], subject.features("test").logits
    expected = network.head(features).logits
    assert logits is not None
    torch.testing.assert_close(logits[:30], expected[1])
    assert not torch.allclose(expected[0], expected[1])

    (files := tmp_path / "files").mkdir()
    for place, image in enumerate(subject.split("test").images.gather(torch.arange(30))[:, 0].numpy()):
        assert image.shape == (12, 12)
        Image.fromarray(image).save(files / f"{place:03}.png")
    run.predict(files, tmp_path / "classes.csv", device="cpu")
    assert [int(row["class"]) for row in rows(tmp_path / "classes.csv")] == expected[1].argmax(1).tolist()
    run.embed(files, tmp_path / "features.parquet", device="cpu")
    embedded = pyarrow.parquet.read_table(tmp_path / "features.parquet").column("features").to_pylist()
    numpy.testing.assert_allclose(embedded, features, atol=1e-5)
    with torch.no_grad():
        exported = Outputs(network)(torch.zeros(2, 1, 8, 8))[1]
        torch.testing.assert_close(exported, network.head(network.backbone(torch.zeros(2, 1, 8, 8))).logits[1])


KILLED = """
import os, signal, sys
from pathlib import Path
from sslkit.inference import forward, job
from sslkit.inference.predict import predict
from sslkit.runs.run import Run
import torch
torch.set_num_threads(1)
forward.CHUNK = job.CHUNK = 16
forward.BATCH = 8
run, images, out = map(Path, sys.argv[1:])
predict(Run(run), images, out, advance=lambda done, total: done == 40 and os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_killed_process_loses_a_chunk(run: Run, digits: Path, tmp_path: Path, small_chunks: None) -> None:
    out = tmp_path / "classes.csv"
    done = subprocess.run([sys.executable, "-c", KILLED, run.path, digits, out], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not out.exists()
    assert "went on after 32 of 60 files" in predict(run, digits, out).notes
    predict(run, digits, tmp_path / "whole.csv")
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_features_are_those_of_evaluation(run: Run, digits: Path, tmp_path: Path) -> None:
    run.embed(digits, tmp_path / "features.parquet", device="cpu")
    table = pyarrow.parquet.read_table(tmp_path / "features.parquet")
    assert table.column("file").to_pylist()[:2] == ["train/0/000.png", "train/0/001.png"]
    found = numpy.stack(table.column("features").to_numpy())
    assert found.dtype == numpy.float32
    numpy.testing.assert_allclose(found, RunSubject(run, "cpu").features("test").features[:60], rtol=1e-5, atol=1e-6)


HOSTILE = [
    "=HYPERLINK(1).png",
    "-1+1.png",
    "@x.png",
    'a "quoted", name.png',
    "two\nlines.png",
    "ret\rurn.png",
    "\x1b[31mred\x1b[0m.png",
    "\u202egnp.exe.png",
    "<script>.png",
    "'apostrophe.png",
]


def test_names_that_mean_harm_reach_programs_whole_and_nobody_else(run: Run, digits: Path, tmp_path: Path) -> None:
    (folder := tmp_path / "hostile").mkdir()
    for name in HOSTILE:
        shutil.copy(digits / "train/0/000.png", folder / name)
    raw = os.fsencode(folder) + b"/odd\xff.png"
    shutil.copy(digits / "train/0/000.png", raw)
    (folder / "\x1b[2Jbroken.png").write_bytes(b"")
    (folder / "=broken.png").write_bytes(b"")
    write_class_names(run, ["=1+1"] * 10)
    out = tmp_path / "classes.csv"
    done = CliRunner().invoke(app, ["predict", str(run.path), str(folder), "--out", str(out), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    found = rows(out)
    assert {row["name"] for row in found} == {"'=1+1"}
    assert {row["confidence"] for row in found} == {"1.0"}
    cells = {row["file"] for row in found}
    assert {os.path.normpath(cell) for cell in cells} == {*HOSTILE, "odd\\udcff.png"}
    assert all((folder / cell).is_file() for cell in cells - {"odd\\udcff.png"})
    assert not [cell for cell in cells if cell[0] in "=+-@\t\r\n"]
    assert [row["file"] for row in rows(tmp_path / "classes.csv.broken.csv")] == ["\x1b[2Jbroken.png", "./=broken.png"]
    assert done.stderr == (
        f"2 of 13 files cannot be read and are left out; all are listed in {tmp_path}/classes.csv.broken.csv:\n"
        "  '\\x1b[2Jbroken.png': empty file\n"
        "  =broken.png: empty file\n"
    )
    assert done.stdout == f"{out}: 11 images\n"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=3))
def test_any_text_comes_back_from_csv(texts: list[str]) -> None:
    import io

    file = io.BytesIO()
    tables.write_rows(file, [[tables.text_cell(text) for text in texts]])
    (found,) = csv.reader(io.StringIO(file.getvalue().decode(), newline=""))
    assert [re.sub(r"^'(?=[=+\-@\t\r\n])", "", cell) for cell in found] == [
        re.sub(r"^'(?=[=+\-@\t\r\n])", "", text) for text in texts
    ]
    assert not [cell for cell in found if cell.startswith(tables.FORMULA)]


def stopped_at_the_end(done: int, total: int) -> None:
    if done == total:
        raise KeyboardInterrupt


def test_what_cannot_be_done_is_said(run: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "classes.csv"
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("")
    (tmp_path / "one.png").write_bytes(b"")
    cases = [
        (digits / "nothing", r"there is no file or folder .*nothing"),
        (tmp_path / "empty", r"no images in .*empty \(found: 1 \.txt\)\. Images are files named \.bmp"),
        (tmp_path / "one.png", r"none of the 1 images of .*one\.png can be read; the first is one\.png: empty file"),
    ]
    for images, message in cases:
        with pytest.raises(sslkit.DataError, match=message):
            predict(run, images, out)
    with pytest.raises(sslkit.InputError, match=r"there is no folder .*nowhere: make it"):
        predict(run, digits, tmp_path / "nowhere" / "classes.csv")
    (tmp_path / "classes.csv.unfinished").mkdir()
    with (tmp_path / "classes.csv.unfinished" / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(sslkit.InputError, match=r"another process is working on .*classes\.csv\.unfinished: wait"):
            predict(run, digits, out)
    with pytest.raises(KeyboardInterrupt):
        predict(run, digits, out, advance=stopped_at_the_end)
    (tmp_path / "classes.csv.unfinished" / "000000.safetensors").write_bytes(b"damaged")
    with pytest.raises(sslkit.InputError, match=r"000000\.safetensors is damaged \(.*\): remove .*\.unfinished and"):
        predict(run, digits, out)
    out.write_text("mine")
    with pytest.raises(sslkit.InputError, match=r"classes\.csv is there already: remove it, or name another file"):
        predict(run, digits, out)
    assert out.read_text() == "mine"

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(sslkit.InputError, match=r"Parquet needs pyarrow.*pip install 'sslkit\[parquet\]'"):
        embed(run, digits, tmp_path / "features.parquet")
    recipe = tomllib.loads(run.recipe.read_text())
    del recipe["head"]
    run.recipe.write_text(tomli_w.dumps(recipe))
    with pytest.raises(sslkit.InputError, match=r"has no classifier, so it discovered no classes: `sslkit embed`"):
        predict(run, digits, tmp_path / "other.csv")


def test_files_that_were_repaired_are_not_listed_any_more(
    run: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, out = Path(shutil.copytree(digits, tmp_path / "copy")), tmp_path / "classes.csv"
    (copy / "train" / "0" / "000.png").write_bytes(b"?")

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, suppress(OSError):
        patch.setattr(inference_run, "choose", full)
        predict(run, copy, out)
    listing = tmp_path / "classes.csv.broken.csv"
    assert listing.exists()
    shutil.copy(digits / "train" / "0" / "000.png", copy / "train" / "0" / "000.png")
    assert predict(run, copy, out).broken_file is None
    assert not listing.exists()


def test_a_finished_table_does_not_fail_over_its_folder(
    run: Run, digits: Path, tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network drive, where a folder cannot go while one of its files is open."""
    honest = Path.rmdir
    removed: list[Path] = []

    def strict(folder: Path) -> None:
        removed.append(folder)
        if len(removed) == 1:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(folder))
        honest(folder)

    monkeypatch.setattr(Path, "rmdir", strict)
    predict(run, digits, tmp_path / "others.csv")
    assert removed == [tmp_path / "others.csv.unfinished"]
    assert not list(removed[0].iterdir())
    predict(run, digits, tmp_path / "classes.csv")
    assert not (tmp_path / "classes.csv.unfinished").exists()


def test_a_drive_without_locks_is_told(run: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(file: object) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(job, "hold", none)
    with pytest.raises(InputError, match="is on a file system that cannot lock files"):
        predict(run, digits, tmp_path / "classes.csv")
