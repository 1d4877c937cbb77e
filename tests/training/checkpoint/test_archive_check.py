"""Untrusted checkpoints are refused with a message, and nothing in them is executed."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from malicious_files import EMPTY_PICKLE, MARKER, PAYLOAD, CallWhenUnpickled, torch_archive

from sslkit.errors import RunError
from sslkit.recipe.load import load_recipe
from sslkit.training.checkpoint.archive_check import ALLOWED_NAMES
from sslkit.training.checkpoint.checkpoint_files import load_checkpoint
from sslkit.training.train import train


def torch_save(value: Any) -> bytes:
    data = io.BytesIO()
    torch.save(value, data)
    return data.getvalue()


def pickled_call(module: str, name: str, *arguments: bytes) -> bytes:
    """Return a protocol-0 pickle: GLOBAL, then a call with string arguments."""
    return f"c{module}\n{name}\n(".encode() + b"".join(b"V" + text + b"\n" for text in arguments) + b"tR."


def tensor_with_false_sizes(size: int, numel: int) -> bytes:
    """Return a float32 tensor with a declared size ``size`` and storage size ``numel``, but only two values."""
    with zipfile.ZipFile(io.BytesIO(torch_save({"state_dict": torch.zeros(2)}))) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    (key,) = (name for name in entries if name.endswith("data.pkl"))
    # In protocol 2, small integers are BININT1, K\x02: first the storage size, then the tensor size.
    body = entries[key]
    long_int = b"\x8a\x08"
    first = body.index(b"K\x02tq")
    body = body[:first] + long_int + struct.pack("<q", numel) + body[first + 2 :]
    second = body.index(b"K\x02\x85")
    entries[key] = body[:second] + long_int + struct.pack("<q", size) + body[second + 2 :]
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return data.getvalue()


def lightning_checkpoint(**more: Any) -> dict[str, Any]:
    """Return a checkpoint whose hyperparameters Lightning's own loaders would instantiate."""
    return {"state_dict": {}, "hyper_parameters": {"_instantiator": "os.system", "_target_": "os.system"}} | more


CHECKPOINTS: dict[str, bytes] = {
    "reduce in a torch archive": torch_save(CallWhenUnpickled(exec, PAYLOAD)),
    "reduce in a bare pickle": pickle.dumps(CallWhenUnpickled(exec, PAYLOAD)),
    "GLOBAL and REDUCE": torch_archive(pickled_call("builtins", "eval", PAYLOAD.encode())),
    "STACK_GLOBAL": torch_archive(pickle.dumps(CallWhenUnpickled(eval, PAYLOAD), protocol=4)),
    "INST": torch_archive(f"(V{PAYLOAD}\nibuiltins\neval\n.".encode()),
    "OBJ": torch_archive(f"(cbuiltins\neval\nV{PAYLOAD}\no.".encode()),
    "NEWOBJ": torch_archive(b"\x80\x02csubprocess\nPopen\n(Vtouch executed\nt\x81."),
    "BUILD of attributes": torch_archive(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}(V__class__\ncos\nsystem\nub."),
    "a method of a named class": torch_archive(pickled_call("pathlib", "Path.touch", MARKER.encode())),
    "a module of torch that executes": torch_archive(pickled_call("torch", "hub.load", b"evil/evil", b"model")),
    "an instantiator of hyperparameters": torch_save(lightning_checkpoint(x=CallWhenUnpickled(exec, PAYLOAD))),
    "an instantiator by name": torch_save(lightning_checkpoint()),
    "a name other packages allow": torch_save(ValueError("not for checkpoints")),
    "a zip bomb": torch_archive(
        EMPTY_PICKLE, compression=zipfile.ZIP_DEFLATED, **{"archive/data/0": bytes(50_000_000)}
    ),
    "a path out of the archive": torch_archive(EMPTY_PICKLE, **{"../../executed": b"x"}),
    "an absolute path": torch_archive(EMPTY_PICKLE, **{"/tmp/executed": b"x"}),
    "two pickles": torch_archive(EMPTY_PICKLE, **{"other/data.pkl": EMPTY_PICKLE}),
    "no pickle": torch_archive(EMPTY_PICKLE).replace(b"data.pkl", b"data.pkx"),
    "a storage shorter than it claims": tensor_with_false_sizes(2, 2**40),
    "a shape larger than its storage": tensor_with_false_sizes(2**60, 2),
    "a truncated archive": torch_save({"state_dict": torch.zeros(1000)})[:-500],
    "an empty file": b"",
    "another format": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "an archive like TorchScript": torch_archive(
        EMPTY_PICKLE, **{"archive/constants.pkl": pickled_call("os", "system", b"touch executed")}
    ),
    "a list for a table": torch_save([1, 2, 3]),
    "deep nesting": torch_archive(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_malicious_checkpoints_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("x.ckpt")
    path.write_bytes(CHECKPOINTS[name])
    with pytest.raises(
        RunError,
        match=r"^the checkpoint x\.ckpt (is refused: |cannot be read: |is not a complete sslkit checkpoint: ).",
    ):
        load_checkpoint(path)
    assert [file.name for file in tmp_path.iterdir()] == ["x.ckpt"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("GLOBAL and REDUCE", "is refused: it imports 'builtins.eval', .* nothing was executed"),
        ("a zip bomb", "is refused: it is compressed, .* may fill the memory"),
        ("a path out of the archive", r"is refused: it has an entry outside the archive, '\.\./\.\./executed'"),
        (
            "an instantiator by name",
            "it lacks optimizer_states, lr_schedulers, callbacks, loops, global_step, recipe, processes, position",
        ),
    ],
)
def test_the_message_names_what_is_wrong(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(CHECKPOINTS[name])
    with pytest.raises(RunError, match=message):
        load_checkpoint(tmp_path / "x.ckpt")


def test_a_checkpoint_of_sslkit_imports_only_what_is_allowed(tiny: Path, tmp_path: Path) -> None:
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
    assert all(ALLOWED_NAMES.fullmatch(name) for name in names)
    assert load_checkpoint(run.last_checkpoint)["global_step"] == 1
