"""Features on disk, so that a checkpoint looks at a data set once however often it is evaluated.

An entry is named by everything that its values depend on (see ``name``), so none can be out of date: other weights,
other images, another preparation or changed code have another name.  Entries are safetensors files in the folder
``features`` of sslkit's cache, written aside and renamed.  Together they take at most ``LIMIT`` bytes: the longest
unused go first.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

import sslkit
from sslkit.contracts.dataset import ImageStore
from sslkit.data.cache import cache_folder
from sslkit.files import open_atomic

FORMAT = 4
"""Goes up whenever the same network and images would give other values, or the entries' files change."""

LIMIT = 8 << 30
"""Bytes that all entries together may take."""

BLOCK = 1 << 26
"""Bytes of images that are hashed at a time."""


def feature_cache_folder() -> Path:
    """Where entries are; not necessarily there yet."""
    return cache_folder() / "features"


LIBRARIES = frozenset({"torch", "torchvision", "timm", "lightly"})
"""Packages whose version tells what their code is: released, and too large to be read each time."""


def name(modules: Iterable[nn.Module], images: ImageStore, preparation: Mapping[str, Any]) -> str:
    """What an entry is called: a hash of weights, code, pixels and preparation.

    Args:
        modules: the networks, whose weights, buffers and classes count.
        images: the images, in their order; every pixel of theirs is read.
        preparation: whatever else the values depend on, such as size, normalisation, and the networks' options.

    Returns:
        Empty where the code of a module has no file, as in a notebook, or one that cannot be read: it could change
        without the name changing.
    """
    found = hashlib.blake2b(digest_size=16)
    versions = [FORMAT, sslkit.__version__, torch.__version__, dict(preparation)]
    found.update(json.dumps(versions, sort_keys=True).encode())
    for module in modules:
        files = _code(module)
        if files is None:
            return ""
        try:
            for file in files:
                found.update(hashlib.blake2b(file.read_bytes()).digest())
        except OSError:
            return ""
        found.update(json.dumps(_versions(module)).encode())
        for key, value in module.state_dict().items():
            found.update(f"{key} ".encode())
            _add(found, value)
    count = max(1, BLOCK // max(1, images.shape[0] * images.shape[1] * images.shape[2]))
    for block in torch.arange(len(images)).split(count):
        _add(found, images.gather(block))
    return found.hexdigest()


def _add(found: Any, value: object) -> None:
    if not isinstance(value, Tensor):
        found.update(repr(value).encode())
        return
    plain = value.detach().cpu().contiguous()
    found.update(f"{plain.dtype} {list(plain.shape)} ".encode())
    found.update(plain.reshape(-1).view(torch.uint8).numpy())


def _code(module: nn.Module) -> list[Path] | None:
    """The files that a network's classes are written in, and all others of their packages, whose code they may call."""
    files: set[Path] = set()
    for kind in {type(part) for part in module.modules()}:
        try:
            file = Path(inspect.getsourcefile(kind) or "")
        except (TypeError, OSError):
            return None
        if not file.is_file():
            return None
        if kind.__module__.partition(".")[0] in LIBRARIES and "site-packages" in file.parts:
            continue
        files.update(path for path in _package(kind, file) if path.is_file())
    return sorted(files)


def _package(kind: type, file: Path) -> Iterable[Path]:
    """All code of the outermost package that a class is in; without one, what stands beside its file."""
    names = kind.__module__.split(".")
    for count in range(1, len(names) + 1):
        first = Path(getattr(sys.modules.get(".".join(names[:count])), "__file__", None) or "")
        if first.name == "__init__.py":
            return first.parent.rglob("*.py")
    return file.parent.glob("*.py")


def _versions(module: nn.Module) -> list[str]:
    """Of the packages that a network's classes are from: what is installed may change in other files than theirs."""
    packages = sorted({type(part).__module__.partition(".")[0] for part in module.modules()})
    return [f"{package} {getattr(sys.modules.get(package), '__version__', '')}" for package in packages]


def load_or_compute(entry: str, make: Callable[[], dict[str, Tensor]], notes: list[str]) -> dict[str, Tensor]:
    """The tensors of an entry; where there is none that can be read, they are made, and kept if that is possible.

    Args:
        entry: its ``name``; empty: nothing is kept.
        make: computes the tensors.
        notes: what a user should know is added here: a damaged entry, a cache that cannot be written.
    """
    if not entry:
        return make()
    path = feature_cache_folder() / f"{entry}.safetensors"
    try:
        if path.exists():
            found = _read(path)
            with suppress(OSError):  # somebody else's cache may be for reading only
                os.utime(path)
            return found
    except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
        notes.append(f"the load_or_compute features {path} are damaged ({error}): they are computed again")
    made = make()
    size = sum(tensor.nbytes for tensor in made.values())
    if size > LIMIT:
        notes.append(f"features are not kept, they take {size / 2**30:.1f} GiB and the cache {LIMIT / 2**30:g} at most")
        return made
    try:
        _write(path, made, size)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        notes.append(f"features are not kept, {path.parent} cannot be written: {reason}")
    return made


def _read(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        wanted = json.loads(file.metadata()["sslkit"])
        found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    if _digest(found) != wanted["digest"]:
        raise ValueError("its checksum is another")
    return found


def _write(path: Path, tensors: dict[str, Tensor], size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _make_room(path.parent, LIMIT - size)
    kept = {key: tensor.contiguous() for key, tensor in tensors.items()}
    with open_atomic(path) as file:
        mode = os.fstat(file.fileno()).st_mode
        save_file(kept, file.name, metadata={"sslkit": json.dumps({"digest": _digest(kept)})})
        # safetensors may put another file there, which only its owner can read, and which nobody has flushed.
        aside = Path(file.name)
        aside.chmod(mode)
        with aside.open("rb") as there:
            os.fsync(there.fileno())


def _make_room(folder: Path, limit: int) -> None:
    entries = sorted(folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in entries:
        total += path.stat().st_size
        if total > limit:
            path.unlink(missing_ok=True)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for key in sorted(tensors):
        found.update(key.encode())
        _add(found, tensors[key])
    return found.hexdigest()
