"""``predict`` and ``embed``: contents of the tables, malicious file names, and errors."""

from __future__ import annotations

import errno
import json
import os
import shutil
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
from csv_tables import read_rows
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from typer.testing import CliRunner

import sslkit
from sslkit.api import Run
from sslkit.cli.main import app
from sslkit.data.splits import load_split
from sslkit.evaluation.run_subject import RunSubject
from sslkit.export.onnx import OnnxOutputs
from sslkit.features.outliers import outlier_scores
from sslkit.inference import predict as predict_module
from sslkit.inference.predict import embed, predict
from sslkit.recipe.load import load_recipe
from sslkit.runs.class_names import write_class_names
from sslkit.runs.weights_header import read_metadata
from sslkit.trained.network import TrainedNetwork
from sslkit.training.train import train


def test_classes_are_those_of_evaluation_and_equal_names_merge_them(run: Run, digits: Path, tmp_path: Path) -> None:
    logits = RunSubject(run, "cpu").features("test").logits
    assert logits is not None
    probabilities = (logits[:60].double() / 0.1).softmax(1)
    result = run.predict(digits, tmp_path / "plain.csv", device="cpu")
    assert (result.images, result.broken, result.broken_file) == (60, 0, None)
    assert result.notes == (f"the classes have no names: name them with `sslkit label {run.path}`",)
    plain = read_rows(tmp_path / "plain.csv")
    assert list(plain[0]) == ["class", "name", "confidence", "outlier_score", "file"]
    assert [row["file"] for row in plain[:2]] == ["train/0/000.png", "train/0/001.png"]
    assert [int(row["class"]) for row in plain] == probabilities.argmax(1).tolist()
    confidence = [float(row["confidence"]) for row in plain]
    numpy.testing.assert_allclose(confidence, probabilities.max(1).values, atol=2e-6)
    assert {row["name"] for row in plain} == {""}

    # Classes 0 to 4 have the same name, class 5 has a different name, all others have none.
    write_class_names(run, ["low"] * 5 + ["five", "", "", "", ""])
    notes = run.predict(digits, tmp_path / "named.csv", device="cpu").notes
    assert notes == (f"4 of 10 classes have no name: name them with `sslkit label {run.path}`",)
    named = read_rows(tmp_path / "named.csv")
    merged = torch.cat([probabilities[:, :5].sum(1, keepdim=True), probabilities[:, 5:]], 1)
    numpy.testing.assert_allclose([float(row["confidence"]) for row in named], merged.max(1).values, atol=2e-6)
    assert [row["name"] for row in named] == [["low", "five", "", "", "", ""][group] for group in merged.argmax(1)]
    classes = [0 if group == 0 else group + 4 for group in merged.argmax(1)]
    assert [int(row["class"]) for row in named] == classes
    assert not list(tmp_path.glob("*.unfinished"))

    # A run whose loss defines no temperature.
    metadata = read_metadata(run.heads)
    metadata["logit_temperature"] = None
    with safe_open(run.heads, framework="pt") as stored:
        weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a dict
    save_file(weights, run.heads, {"sslkit": json.dumps(metadata)})
    *_, note = run.predict(digits, tmp_path / "no-temperature.csv", device="cpu").notes
    assert "defines no temperature for logits: confidence is computed with temperature 1" in note
    write_class_names(run, [""] * 10)
    run.predict(digits, tmp_path / "unnamed.csv", device="cpu")
    confidence = [float(row["confidence"]) for row in read_rows(tmp_path / "unnamed.csv")]
    numpy.testing.assert_allclose(confidence, logits[:60].double().softmax(1).max(1).values, atol=2e-6)


def test_features_are_those_of_evaluation(run: Run, digits: Path, tmp_path: Path) -> None:
    run.embed(digits, tmp_path / "features.parquet", device="cpu")
    table = pyarrow.parquet.read_table(tmp_path / "features.parquet")
    assert table.column("file").to_pylist()[:2] == ["train/0/000.png", "train/0/001.png"]
    features = numpy.stack(table.column("features").to_numpy())
    assert features.dtype == numpy.float32
    expected = RunSubject(run, "cpu").features("test").features[:60]
    numpy.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)


def test_recipe_chooses_head_and_classifier_of_evaluation_inference_and_export(tiny: Path, tmp_path: Path) -> None:
    options = "use='selfcls-mlp', hidden_dims=[]"
    heads = f"[{{name='other', {options}, classifiers=[5]}}, {{name='own', {options}, classifiers=[7, 7]}}]"
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
    for index, image in enumerate(subject.split("test").images.gather(torch.arange(30))[:, 0].numpy()):
        assert image.shape == (12, 12)
        Image.fromarray(image).save(files / f"{index:03}.png")
    run.predict(files, tmp_path / "classes.csv", device="cpu")
    classes = [int(row["class"]) for row in read_rows(tmp_path / "classes.csv")]
    assert classes == expected[1].argmax(1).tolist()
    run.embed(files, tmp_path / "features.parquet", device="cpu")
    embedded = pyarrow.parquet.read_table(tmp_path / "features.parquet").column("features").to_pylist()
    numpy.testing.assert_allclose(embedded, features, atol=1e-5)
    with torch.no_grad():
        exported = OnnxOutputs(network)(torch.zeros(2, 1, 8, 8))[1]
        torch.testing.assert_close(exported, network.head(network.backbone(torch.zeros(2, 1, 8, 8))).logits[1])


MALICIOUS_NAMES = [
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


def test_malicious_file_names_are_exact_in_the_table_and_harmless_elsewhere(
    run: Run, digits: Path, tmp_path: Path
) -> None:
    (folder := tmp_path / "malicious").mkdir()
    for name in MALICIOUS_NAMES:
        shutil.copy(digits / "train/0/000.png", folder / name)
    not_utf8 = os.fsencode(folder) + b"/odd\xff.png"
    shutil.copy(digits / "train/0/000.png", not_utf8)
    (folder / "\x1b[2Jbroken.png").write_bytes(b"")
    (folder / "=broken.png").write_bytes(b"")
    write_class_names(run, ["=1+1"] * 10)
    out = tmp_path / "classes.csv"
    done = CliRunner().invoke(app, ["predict", str(run.path), str(folder), "--out", str(out), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    table = read_rows(out)
    assert {row["name"] for row in table} == {"'=1+1"}
    assert {row["confidence"] for row in table} == {"1.0"}
    cells = {row["file"] for row in table}
    assert {os.path.normpath(cell) for cell in cells} == {*MALICIOUS_NAMES, "odd\\udcff.png"}
    assert all((folder / cell).is_file() for cell in cells - {"odd\\udcff.png"})
    assert not [cell for cell in cells if cell[0] in "=+-@\t\r\n"]
    broken = read_rows(tmp_path / "classes.csv.broken.csv")
    assert [row["file"] for row in broken] == ["\x1b[2Jbroken.png", "./=broken.png"]
    first, *lines = done.stderr.splitlines()
    assert "2 of 13 files cannot be read" in first
    assert f"{tmp_path}/classes.csv.broken.csv" in first
    assert lines == ["  '\\x1b[2Jbroken.png': empty file", "  =broken.png: empty file"]
    assert done.stdout == f"{out}: 11 images\n"


def test_unusable_images_and_files_are_refused(
    run: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "classes.csv"
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("")
    (tmp_path / "one.png").write_bytes(b"")
    for images, message in (
        (digits / "nothing", r"no file or folder .*nothing"),
        (tmp_path / "empty", r"no images in .*empty \(found: 1 \.txt\)\. .*\.bmp"),
        (tmp_path / "one.png", r"none of the 1 images in .*one\.png can be read; the first is one\.png: empty file"),
    ):
        with pytest.raises(sslkit.DataError, match=message):
            predict(run, images, out)
    assert not (tmp_path / "classes.csv.broken.csv").exists()
    with pytest.raises(sslkit.InputError, match=r"the folder .*nowhere does not exist: create it"):
        predict(run, digits, tmp_path / "nowhere" / "classes.csv")
    out.write_text("mine")
    with pytest.raises(sslkit.InputError, match=r"classes\.csv exists already: overwrite it with --force, or choose"):
        predict(run, digits, out)
    assert out.read_text() == "mine"
    other = tmp_path / "other.csv"
    other.with_name("other.csv.broken.csv").write_text("mine")
    with pytest.raises(sslkit.InputError, match=r"other\.csv\.broken\.csv exists already"):
        predict(run, digits, other)
    assert predict(run, digits, other, overwrite=True).broken_file is None
    assert len(read_rows(other)) == 60
    assert not other.with_name("other.csv.broken.csv").exists()

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(sslkit.InputError, match=r"Parquet needs pyarrow.*pip install 'sslkit\[parquet\]'"):
        embed(run, digits, tmp_path / "features.parquet")
    recipe = tomllib.loads(run.recipe.read_text())
    del recipe["head"]
    run.recipe.write_text(tomli_w.dumps(recipe))
    with pytest.raises(sslkit.InputError, match=r"has no classifier, so it has no classes: .*`sslkit embed`"):
        predict(run, digits, tmp_path / "third.csv")


def test_table_of_broken_files_is_deleted_after_they_are_repaired(
    run: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, out = Path(shutil.copytree(digits, tmp_path / "copy")), tmp_path / "classes.csv"
    (copy / "train" / "0" / "000.png").write_bytes(b"?")

    def disk_full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, suppress(OSError):
        patch.setattr(predict_module, "predict_group", disk_full)
        predict(run, copy, out)
    broken_file = tmp_path / "classes.csv.broken.csv"
    assert broken_file.exists()
    shutil.copy(digits / "train" / "0" / "000.png", copy / "train" / "0" / "000.png")
    assert predict(run, copy, out).broken_file is None
    assert not broken_file.exists()


def test_new_images_of_more_than_8_bits_are_scaled_like_those_of_the_training(
    tiny: Path, digits: Path, tmp_path: Path
) -> None:
    for folder in ("8", "16"):
        (tmp_path / folder).mkdir()
    for path in digits.rglob("*.png"):
        pixels = numpy.asarray(Image.open(path))
        Image.fromarray(pixels).save(tmp_path / "8" / path.name)
        Image.fromarray(pixels.astype(numpy.uint16) * 16).save(tmp_path / "16" / path.name)
    data = f"data={{use='image-folder', root='{tmp_path / '16'}', channels=1, size=8, value_range=[0, 4080]}}"
    settings = [data, "train.epochs=1", "train.batch_size=32", "monitor.every_epochs=0"]
    run = Run(train(load_recipe(tiny, settings), tmp_path / "runs").path)
    run.predict(tmp_path / "16", tmp_path / "16.csv", device="cpu")
    run.predict(tmp_path / "8", tmp_path / "8.csv", device="cpu")
    rows = read_rows(tmp_path / "16.csv")
    assert len({row["confidence"] for row in rows}) > 20
    assert rows == read_rows(tmp_path / "8.csv")


def test_outlier_scores_need_no_training_images(
    run: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise scores higher than digits, in both tables, and without the file the column is empty."""
    images = Path(shutil.copytree(digits, tmp_path / "images"))
    noise = numpy.random.default_rng(0).integers(0, 256, (8, 8), dtype=numpy.uint8)
    Image.fromarray(noise).save(images / "noise.png")
    with monkeypatch.context() as patch:
        patch.setattr(RunSubject, "split", lambda *_: pytest.fail("the data set was read"))
        run.predict(images, tmp_path / "with.csv", device="cpu")
        run.embed(images, tmp_path / "with.parquet", device="cpu")
    scores = {row["file"]: float(row["outlier_score"]) for row in read_rows(tmp_path / "with.csv")}
    assert max(scores, key=scores.__getitem__) == "noise.png"
    assert scores["noise.png"] > 2
    assert abs(numpy.median(list(scores.values()))) < 1.5
    table = pyarrow.parquet.read_table(tmp_path / "with.parquet").to_pydict()
    assert {file: round(score, 3) for file, score in zip(table["file"], table["outlier_score"], strict=True)} == scores

    subject = RunSubject(run, "cpu")
    train = subject.network.frozen.features(load_split(subject.dataset, "train").images)
    expected = outlier_scores(torch.tensor(table["features"]), references=train)
    numpy.testing.assert_allclose(table["outlier_score"], expected, atol=0.02)

    run.typical_images.unlink()
    result = run.predict(images, tmp_path / "without.csv", device="cpu")
    assert any("no outlier scores" in note and "typical-images.safetensors" in note for note in result.notes)
    assert {row["outlier_score"] for row in read_rows(tmp_path / "without.csv")} == {""}
    run.embed(images, tmp_path / "without.parquet", device="cpu")
    without = pyarrow.parquet.read_table(tmp_path / "without.parquet").to_pydict()
    assert set(without["outlier_score"]) == {None}
    save_file({"features": torch.full((3, 5), torch.nan)}, run.typical_images)
    with pytest.raises(sslkit.SslkitError, match=r"typical-images\.safetensors cannot be used.*delete the file"):
        run.predict(images, tmp_path / "damaged.csv", device="cpu")
    run.typical_images.write_bytes(b"x")
    with pytest.raises(sslkit.SslkitError, match=r"typical-images\.safetensors cannot be read.*delete the file"):
        run.predict(images, tmp_path / "damaged.csv", device="cpu")
