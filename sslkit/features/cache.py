"""Cache of features on disk, so that repeated evaluations of a network do not compute its features again.

The key of an entry is a hash of everything that its values depend on (see ``cache_key``), so that an entry is never out
of date. Entries are safetensors files in the folder ``features`` of sslkit's cache, written atomically. All entries
together take up at most ``MAX_CACHE_BYTES``; the least recently used entries are deleted first.
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

CACHE_FORMAT = 5
"""Version of the cache entries. Increase it when the computation of features or the file format changes."""

MAX_CACHE_BYTES = 8 << 30
"""Largest total size of all entries, in bytes."""

HASH_BLOCK_BYTES = 1 << 26
"""Bytes of images that are hashed at a time."""

RELEASED_LIBRARIES = frozenset({"torch", "torchvision", "timm", "lightly"})
"""Packages that are identified by version, because their source is too large to hash each time."""


def feature_cache_folder() -> Path:
    """Return the folder of the cache entries; it may not exist yet."""
    return cache_folder() / "features"


def cache_key(modules: Iterable[nn.Module], images: ImageStore, settings: Mapping[str, Any]) -> str:
    """Return the key of an entry: a hash of weights, source code, versions, pixels and settings.

    Args:
        modules: the networks; their weights, buffers and source code are hashed.
        images: the images, in order; every pixel is hashed.
        settings: everything else that the values depend on, such as image size, normalisation and options.

    Returns:
        The key; empty if a module's source code is not in a readable file, as in a notebook, because changes to this
        code would not change the key.
    """
    digest = hashlib.blake2b(digest_size=16)
    versions = [CACHE_FORMAT, sslkit.__version__, torch.__version__, dict(settings)]
    digest.update(json.dumps(versions, sort_keys=True).encode())
    for module in modules:
        files = _source_files(module)
        if files is None:
            return ""
        try:
            for file in files:
                digest.update(hashlib.blake2b(file.read_bytes()).digest())
        except OSError:
            return ""
        digest.update(json.dumps(_package_versions(module)).encode())
        for key, value in module.state_dict().items():
            digest.update(f"{key} ".encode())
            _hash_value(digest, value)
    count = max(1, HASH_BLOCK_BYTES // max(1, images.shape[0] * images.shape[1] * images.shape[2]))
    for block in torch.arange(len(images)).split(count):
        _hash_value(digest, images.gather(block))
    return digest.hexdigest()


def _hash_value(digest: Any, value: object) -> None:
    if not isinstance(value, Tensor):
        digest.update(repr(value).encode())
        return
    plain = value.detach().cpu().contiguous()
    digest.update(f"{plain.dtype} {list(plain.shape)} ".encode())
    digest.update(plain.reshape(-1).view(torch.uint8).numpy())


def _source_files(module: nn.Module) -> list[Path] | None:
    """Return the source files of the packages whose classes a network uses, or None if a class has no source file.

    Installed ``RELEASED_LIBRARIES`` are left out.
    """
    files: set[Path] = set()
    for kind in {type(part) for part in module.modules()}:
        try:
            file = Path(inspect.getsourcefile(kind) or "")
        except (TypeError, OSError):
            return None
        if not file.is_file():
            return None
        if kind.__module__.partition(".")[0] in RELEASED_LIBRARIES and "site-packages" in file.parts:
            continue
        files.update(path for path in _package_files(kind, file) if path.is_file())
    return sorted(files)


def _package_files(kind: type, file: Path) -> Iterable[Path]:
    """Return all source files of a class's top-level package or, if there is none, those next to ``file``."""
    names = kind.__module__.split(".")
    for count in range(1, len(names) + 1):
        first = Path(getattr(sys.modules.get(".".join(names[:count])), "__file__", None) or "")
        if first.name == "__init__.py":
            return first.parent.rglob("*.py")
    return file.parent.glob("*.py")


def _package_versions(module: nn.Module) -> list[str]:
    """Return the name and version of each package whose classes a network uses.

    The cache key contains the versions, because a package's data files may change even if its source code does not.
    """
    packages = sorted({type(part).__module__.partition(".")[0] for part in module.modules()})
    return [f"{package} {getattr(sys.modules.get(package), '__version__', '')}" for package in packages]


def load_or_compute(
    key: str, compute: Callable[[], dict[str, Tensor]], notes: list[str], *, check: bool = True
) -> dict[str, Tensor]:
    """Return the tensors of a cache entry; if it is missing or damaged, compute and save the tensors.

    Args:
        key: key of the entry, from ``cache_key``. If empty, the cache is neither read nor written.
        compute: function that returns the tensors.
        notes: list to which warnings about damaged entries or an unwritable cache are appended.
        check: whether to verify the checksum of the tensors, which reads all bytes. If False, only a
            truncated entry counts as damaged, and the tensors are memory-mapped: do not change them in place.
    """
    if not key:
        return compute()
    path = feature_cache_folder() / f"{key}.safetensors"
    try:
        if path.exists():
            tensors = _read(path, check=check)
            with suppress(OSError):  # a shared cache may be read-only
                os.utime(path)
            return tensors
    except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
        notes.append(f"the cached features {path} are damaged ({error}): they are computed again")
    tensors = compute()
    size = sum(tensor.nbytes for tensor in tensors.values())
    if size > MAX_CACHE_BYTES:
        limit = f"{MAX_CACHE_BYTES / 2**30:g} GiB"
        notes.append(f"the features are not cached: they take {size / 2**30:.1f} GiB, the limit is {limit}")
        return tensors
    try:
        _write(path, tensors, size)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        notes.append(f"the features are not cached: {path.parent} cannot be written: {reason}")
    return tensors


def _read(path: Path, *, check: bool) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()["sslkit"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    if check and _digest(tensors) != metadata["digest"]:
        raise ValueError("wrong checksum")
    return tensors


def _write(path: Path, tensors: dict[str, Tensor], size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _make_room(path.parent, MAX_CACHE_BYTES - size)
    contiguous = {key: tensor.contiguous() for key, tensor in tensors.items()}
    with open_atomic(path) as file:
        mode = os.fstat(file.fileno()).st_mode
        save_file(contiguous, file.name, metadata={"sslkit": json.dumps({"digest": _digest(contiguous)})})
        # safetensors may have replaced the file: restore the file mode, and flush the new file to disk.
        temporary = Path(file.name)
        temporary.chmod(mode)
        with temporary.open("rb") as saved:
            os.fsync(saved.fileno())


def _make_room(folder: Path, limit: int) -> None:
    entries = sorted(folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in entries:
        total += path.stat().st_size
        if total > limit:
            path.unlink(missing_ok=True)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for key in sorted(tensors):
        digest.update(key.encode())
        _hash_value(digest, tensors[key])
    return digest.hexdigest()
