"""Files from strangers: each is refused with a message, and nothing in it is executed, fetched or waited for."""

from __future__ import annotations

import io
import json
import os
import pickle
import pickletools
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from sslkit.data.datasets.image_folder import ImageFolder
from sslkit.errors import RecipeError, RunError
from sslkit.recipe.check import load_recipe
from sslkit.runs.find import find_run
from sslkit.runs.run import Run
from sslkit.runs.weights import load_weights, read_metadata
from sslkit.trained.backbone import load_backbone
from sslkit.training.checkpoint.archive_check import NAMED
from sslkit.training.checkpoint.files import AtomicCheckpointIO, Checkpoint, load_checkpoint, newest_valid, saved
from sslkit.training.train import resume, train

MARK = "executed"
"""A file that any payload makes when it is executed."""

TOUCH = f"open('{MARK}', 'w')"


class Reduces:
    """Pickled as a call of anything."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def archive(pickled: bytes, *, compression: int = zipfile.ZIP_STORED, **others: bytes) -> bytes:
    """A checkpoint as torch writes it, around a pickle."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/version", b"3\n")
        for name, content in others.items():
            file.writestr(name, content)
    return data.getvalue()


def tensors(value: Any) -> bytes:
    data = io.BytesIO()
    torch.save(value, data)
    return data.getvalue()


def named(module: str, name: str, *arguments: bytes) -> bytes:
    """Protocol 0: GLOBAL, then a call with string arguments."""
    return f"c{module}\n{name}\n(".encode() + b"".join(b"V" + text + b"\n" for text in arguments) + b"tR."


def tensor_of(size: int, numel: int) -> bytes:
    """A float32 tensor that claims ``size`` values in a storage that claims ``numel``, of which there are two."""
    pickled = tensors({"state_dict": torch.zeros(2)})
    with zipfile.ZipFile(io.BytesIO(pickled)) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    (key,) = (name for name in entries if name.endswith("data.pkl"))
    # In protocol 2 the counts are BININT1: K\x02.  First the storage's, then the size in its tuple.
    body = entries[key]
    big = b"\x8a\x08"
    first = body.index(b"K\x02tq")
    body = body[:first] + big + struct.pack("<q", numel) + body[first + 2 :]
    second = body.index(b"K\x02\x85")
    entries[key] = body[:second] + big + struct.pack("<q", size) + body[second + 2 :]
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return data.getvalue()


def lightning(**more: Any) -> dict[str, Any]:
    """What Lightning's own loaders would follow."""
    return {"state_dict": {}, "hyper_parameters": {"_instantiator": "os.system", "_target_": "os.system"}} | more


NOTHING = b"\x80\x02}q\x00."

CHECKPOINTS: dict[str, bytes] = {
    "reduce in a torch archive": tensors(Reduces(exec, TOUCH)),
    "reduce in a bare pickle": pickle.dumps(Reduces(exec, TOUCH)),
    "GLOBAL and REDUCE": archive(named("builtins", "eval", TOUCH.encode())),
    "STACK_GLOBAL": archive(pickle.dumps(Reduces(eval, TOUCH), protocol=4)),
    "INST": archive(f"(V{TOUCH}\nibuiltins\neval\n.".encode()),
    "OBJ": archive(f"(cbuiltins\neval\nV{TOUCH}\no.".encode()),
    "NEWOBJ": archive(b"\x80\x02csubprocess\nPopen\n(Vtouch executed\nt\x81."),
    "BUILD of attributes": archive(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}(V__class__\ncos\nsystem\nub."),
    "a method of a named class": archive(named("pathlib", "Path.touch", MARK.encode())),
    "a module of torch that executes": archive(named("torch", "hub.load", b"evil/evil", b"model")),
    "an instantiator of hyperparameters": tensors(lightning(x=Reduces(exec, TOUCH))),
    "an instantiator by name": tensors(lightning()),
    "a name other packages allow": tensors(ValueError("not for checkpoints")),
    "a zip bomb": archive(NOTHING, compression=zipfile.ZIP_DEFLATED, **{"archive/data/0": bytes(50_000_000)}),
    "a path out of the archive": archive(NOTHING, **{"../../executed": b"x"}),
    "an absolute path": archive(NOTHING, **{"/tmp/executed": b"x"}),
    "two pickles": archive(NOTHING, **{"other/data.pkl": NOTHING}),
    "no pickle": archive(NOTHING).replace(b"data.pkl", b"data.pkx"),
    "a storage shorter than it claims": tensor_of(2, 2**40),
    "a shape larger than its storage": tensor_of(2**60, 2),
    "a truncated archive": tensors({"state_dict": torch.zeros(1000)})[:-500],
    "an empty file": b"",
    "another format": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "TorchScript by its look": archive(NOTHING, **{"archive/constants.pkl": named("os", "system", b"touch executed")}),
    "a list for a table": tensors([1, 2, 3]),
    "deep nesting": archive(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_hostile_checkpoints_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("x.ckpt")
    path.write_bytes(CHECKPOINTS[name])
    with pytest.raises(
        RunError, match=r"^the checkpoint x\.ckpt (is refused: |cannot be read: |is none of sslkit's: )."
    ):
        load_checkpoint(path)
    assert [found.name for found in tmp_path.iterdir()] == ["x.ckpt"]


def test_what_is_named_or_strange_is_told(tmp_path: Path) -> None:
    def said(name: str) -> str:
        (tmp_path / "x.ckpt").write_bytes(CHECKPOINTS[name])
        with pytest.raises(RunError) as error:
            load_checkpoint(tmp_path / "x.ckpt")
        return str(error.value).partition("x.ckpt ")[2]

    assert said("GLOBAL and REDUCE") == (
        "is refused: it names 'builtins.eval', which no checkpoint needs; nothing of it was executed"
    )
    assert said("a zip bomb") == (
        "is refused: it is compressed, which torch's checkpoints are not: it may fill the memory"
    )
    assert said("a path out of the archive") == "is refused: it holds a file outside of itself, '../../executed'"
    assert said("an instantiator by name") == (
        "is none of sslkit's: it lacks optimizer_states, lr_schedulers, callbacks, loops, epoch, global_step, "
        "pytorch-lightning_version, recipe, processes"
    )


def test_a_run_of_ours_names_nothing_but_tensors_and_has_every_part(tiny: Path, tmp_path: Path) -> None:
    settings = ["backbone.width=4", "train.batch_size=1400", "train.epochs=1", "monitor.every_epochs=0"]
    run = train(load_recipe(tiny, [*settings, "loss.queue_size=1400"]), tmp_path / "runs")
    with zipfile.ZipFile(run.last_checkpoint) as file:
        (key,) = (name for name in file.namelist() if name.endswith("data.pkl"))
        pickled = file.read(key)
    names = {str(argument) for code, argument, _ in pickletools.genops(pickled) if "GLOBAL" in code.name}
    assert names == {
        "torch._utils _rebuild_tensor_v2", "collections OrderedDict",
        "torch FloatStorage", "torch LongStorage", "torch ByteStorage",
    }  # fmt: skip
    assert all(NAMED.fullmatch(name) for name in names)
    assert load_checkpoint(run.last_checkpoint)["global_step"] == 1


@pytest.fixture(scope="module")
def stopped(tiny_text: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that has two checkpoints and no weights."""
    folder = tmp_path_factory.mktemp("stopped")
    (folder / "tiny.toml").write_text(tiny_text)
    settings = ["backbone.width=4", "train.batch_size=700", "train.epochs=1", "monitor.every_epochs=0"]
    run = train(load_recipe(folder / "tiny.toml", [*settings, "train.checkpoint_every=1 steps"]), folder / "runs")
    run.backbone.unlink()
    return run


GONE = object()
"""Stands for nothing at all."""


def replaced(tree: Any, place: tuple[Any, ...], new: Any) -> Any:
    """A copy of a tree in which what stands at a place has become another, or is gone."""
    first, *rest = place
    changed = dict(tree) if isinstance(tree, dict) else list(tree)
    if rest:
        changed[first] = replaced(tree[first], tuple(rest), new)
    elif new is GONE:
        del changed[first]
    else:
        changed[first] = new
    return changed


BOOKS = ("callbacks", "Bookkeeping")
LOOP = ("loops", "fit_loop")
TAKEN = (*LOOP, "epoch_loop.automatic_optimization.optim_progress", "optimizer", "step", "total", "completed")
RANDOM = (*BOOKS, "processes", 0, "random")

INSIDES: dict[str, tuple[tuple[Any, ...], Any, str]] = {
    "no optimizer": (("optimizer_states",), [], "optimizer_states: List should have at least 1 item"),
    "two optimizers": (
        ("optimizer_states",),
        [{"state": {}, "param_groups": [{"params": []}]}] * 2,
        "optimizer_states",
    ),
    "an empty optimizer": (("optimizer_states", 0), {}, "it lacks optimizer_states.0.state, optimizer_states.0.param"),
    "an optimizer of no groups": (("optimizer_states", 0, "param_groups"), [], "optimizer_states.0.param_groups: List"),
    "no schedule": (("lr_schedulers",), [], "lr_schedulers: List should have at least 1 item"),
    "no callbacks": (("callbacks",), {}, "it lacks callbacks.Bookkeeping"),
    "an empty bookkeeping": (BOOKS, {}, "it lacks callbacks.Bookkeeping.names, callbacks.Bookkeeping.last_class"),
    "no size of the history": ((*BOOKS, "history_size"), GONE, "it lacks callbacks.Bookkeeping.history_size"),
    "a negative size": ((*BOOKS, "history_size"), -1, "callbacks.Bookkeeping.history_size: Input should be greater"),
    "no process": ((*BOOKS, "processes"), [], "callbacks.Bookkeeping.processes: List should have at least 1 item"),
    "no random state": (RANDOM, GONE, "it lacks callbacks.Bookkeeping.processes.0.random"),
    "another random state": (
        (*RANDOM, "python"),
        [3, [1], None],
        "callbacks.Bookkeeping.processes.0.random: Value",
    ),
    "an empty watch": ((*BOOKS, "watch"), {}, "callbacks.Bookkeeping.watch: Value error, it does not fit"),
    "no loops": (("loops",), {}, "it lacks loops.fit_loop"),
    "no progress": ((*LOOP, "epoch_progress"), GONE, "it lacks loops.fit_loop.epoch_progress"),
    "a version that is none": (
        ("pytorch-lightning_version",),
        "?",
        "pytorch-lightning_version: Value error, '?' is",
    ),
    "a step before the first": (("global_step",), -7, "global_step: Input should be greater than or equal to 1"),
    "a step that is a word": (("global_step",), "2", "global_step: Input should be a valid integer"),
    "other steps in the loop": (TAKEN, 9, "global_step: it is 2, but 9 steps were taken"),
    "more processes": (("processes",), 2, "processes: there were 2, but it holds the states of 1"),
}


@pytest.mark.parametrize("name", INSIDES)
def test_a_checkpoint_whose_inside_is_damaged_is_passed_over(name: str, stopped: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(stopped.path, tmp_path / "runs" / "tiny" / "x", symlinks=True))
    newest, before = saved(run.checkpoints)
    assert (newest.step, before.step) == (2, 1)
    place, new, said = INSIDES[name]
    spoilt = replaced(load_checkpoint(newest.path), place, new)
    newest.path.unlink()
    AtomicCheckpointIO().save_checkpoint(spoilt, run.checkpoints / "step-2.ckpt")
    found, damaged = newest_valid(run.checkpoints)
    assert found == Checkpoint(1, before.checksum, before.path)
    ((_, reason),) = damaged.items()
    assert reason.startswith(f"it is none of sslkit's: {said}")


def test_a_checkpoint_under_the_name_of_another_step_is_passed_over(stopped: Run, tmp_path: Path) -> None:
    (newest, *_) = saved(stopped.checkpoints)
    AtomicCheckpointIO().save_checkpoint(load_checkpoint(newest.path), tmp_path / "step-1.ckpt")
    found, damaged = newest_valid(tmp_path)
    assert (found, list(damaged.values())) == (None, ["it is of step 2"])


def test_a_schedule_that_is_not_the_recipes_is_refused(stopped: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(stopped.path, tmp_path / "runs" / "tiny" / "x", symlinks=True))
    (newest, before) = saved(run.checkpoints)
    newest.path.unlink()
    spoilt = replaced(load_checkpoint(before.path), ("lr_schedulers",), [{}])
    AtomicCheckpointIO().save_checkpoint(spoilt, run.checkpoints / "step-1.ckpt")
    before.path.unlink()
    (newest,) = saved(run.checkpoints)
    with pytest.raises(RunError) as error:
        resume(run)
    assert str(error.value) == (
        f"{run.name} cannot go on from {newest.path.name}, what it holds does not fit (KeyError('step')): "
        f"move that file away to go on from the one before, or train it again with `sslkit train {run.recipe}`"
    )


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def weight(shape: list[int], end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"weight": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}}


def beside(value: Any) -> dict[str, Any]:
    text = value if isinstance(value, str) else json.dumps(value)
    return {"__metadata__": {"sslkit": text}} | weight([2, 2], 16)


FACTS = {
    "channels": 1,
    "image_size": 8,
    "mean": [0.0],
    "std": [1.0],
    "batch_size": 2,
    "steps_per_epoch": 1,
    "epochs": 1,
}
SHOWN = {"image_size": 8, "mean": [0.0], "std": [1.0]}

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
    "a pickle by that name": pickle.dumps(Reduces(exec, TOUCH)),
    "no metadata": save({"weight": torch.zeros(2, 2)}),
    "metadata that are no JSON": safetensors(beside("{"), bytes(16)),
    "metadata that are no table": safetensors(beside([1]), bytes(16)),
    "metadata nested without end": safetensors(beside("[" * 100_000), bytes(16)),
    "no facts": safetensors(beside({"sslkit": 1}), bytes(16)),
    "facts of another kind": safetensors(beside({"context": {"channels": 1, "evil": 2}}), bytes(16)),
    "a component by file": safetensors(
        beside({"context": FACTS, "backbone": {"use": "./evil.py:Backbone"}} | SHOWN), bytes(16)
    ),
    "a component by module": safetensors(
        beside({"context": FACTS, "backbone": {"use": "os:system"}} | SHOWN), bytes(16)
    ),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_hostile_weights_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = Run.create(tmp_path / "runs", "x")
    run.write_status("finished", 1, 1, 1, 1)
    run.backbone.write_bytes(WEIGHTS[name])
    with pytest.raises(Exception) as error:  # noqa: PT011 - whatever it is, it must be one of ours
        load_backbone(run.path)
    assert type(error.value).__module__ == "sslkit.errors"
    assert str(error.value)
    assert not (tmp_path / MARK).exists()


def test_pipes_and_addresses_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunError, match="it is no regular file"):
        load_checkpoint(tmp_path / "pipe")
    with pytest.raises(RunError, match="it is no regular file"):
        read_metadata(tmp_path / "pipe")
    with pytest.raises(RunError, match="it is no regular file"):
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
def test_recipes_name_components_and_nothing_else(
    name: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil.py").write_text(TOUCH)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception) as error:  # noqa: PT011 - whatever it is, it must be one of ours
        train(load_recipe(tiny, [RECIPES[name]]), tmp_path / "runs")
    assert type(error.value).__module__ == "sslkit.errors"
    assert not list(tmp_path.rglob(MARK))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def picture(name: str, size: int = 12) -> bytes:
    data = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(data, name)
    return data.getvalue()


def nan() -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.full((12, 12), np.nan, np.float32)).save(data, "TIFF")
    return data.getvalue()


ODD: dict[str, bytes | None] = {
    "empty.png": b"",
    "text.jpg": b"<html>404</html>",
    "archive.png": archive(NOTHING),
    "truncated.png": picture("PNG")[:100],
    "truncated.jpg": picture("JPEG")[:200],
    "truncated.gif": picture("GIF")[:60],
    "bomb.png": png(60_000, 60_000, chunk(b"IDAT", zlib.compress(bytes(1000)))),
    "text-bomb.png": png(12, 12, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000)))),
    "no-pixels.png": png(12, 12),
    "numbers.tif": nan(),
    "script.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\n(executed) (w) file\n",
    "pipe.png": None,
    "nowhere.png": None,
}


def test_a_folder_with_five_percent_odd_files_trains_and_lists_each_once(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "pictures"
    root.mkdir()
    for name, content in ODD.items():
        if content is not None:
            (root / name).write_bytes(content)
    os.mkfifo(root / "pipe.png")
    (root / "nowhere.png").symlink_to(root / "gone.png")
    for number in range(len(ODD) * 19):
        (root / f"{number}.bmp").write_bytes(picture("BMP"))
    dataset = ImageFolder(ImageFolder.Options(root=root))
    assert len(dataset.load("train").images) == len(ODD) * 19
    broken = {item["file"]: item["reason"] for item in dataset.report()["broken"]}
    assert broken.keys() == ODD.keys()
    assert all(broken.values())
    assert broken["pipe.png"] == "it is no regular file"
    assert broken["bomb.png"] == "more than 100,000,000 pixels are not read"
    notes = "\n".join(dataset.notes())
    assert all(notes.count(f"  {name}: ") == 1 for name in ODD)
    settings = [f'data={{use="image-folder", root="{root}", channels=1, size=8}}', "backbone.width=4"]
    run = train(load_recipe(tiny, [*settings, "train.batch_size=247", "train.epochs=1"]), tmp_path / "runs")
    record = json.loads(run.provenance.read_text())
    assert record["training_images"] == len(ODD) * 19
    assert {item["file"] for item in record["data"]["broken"]} == ODD.keys()
