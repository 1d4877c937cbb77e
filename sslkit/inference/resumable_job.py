"""Save the results for many files in chunks, so that a job can continue after an interruption."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from sslkit.data.datasets.folder.scan import ImageFile
from sslkit.errors import InputError
from sslkit.files import remove_partial_files, to_json, write_atomic
from sslkit.inference.forward import CHUNK_SIZE, Chunk
from sslkit.inference.output_files import job_folder
from sslkit.locks import try_lock
from sslkit.runs.run import Run


class ResumableJob:
    """Job that saves its results in chunks until the output file is written.

    Args:
        out: the output file.
        identity: everything that the results depend on. Saved chunks with a different identity are deleted.
        files: the files to process.

    Attributes:
        restarted: whether chunks with a different identity were deleted.
        chunks: number of saved chunks; only valid inside ``with locked()``.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any], files: Sequence[ImageFile]) -> None:
        self.folder = job_folder(out)
        self.identity = to_json({**identity, "chunk_size": CHUNK_SIZE, "files": _hash_files(files)})
        self.files = files
        self.restarted = False
        self.chunks = 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the job's folder during a ``with`` block. If the process is killed, the lock is released.

        Raises:
            InputError: another process is writing the same output file, or the file system does not support locks.
        """
        self.folder.mkdir(exist_ok=True)
        try:
            with self._locked():
                yield
        finally:
            # Fails unless the folder is empty. The lock file is closed first, because network drives keep open files.
            with suppress(OSError):
                self.folder.rmdir()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("a") as lock:
            try:
                acquired = try_lock(lock)
            except OSError as error:
                raise InputError(
                    f"{self.folder} is on a file system that cannot lock files ({error.strerror}), which would allow "
                    "two processes to write it: choose another folder with --out"
                ) from error
            if not acquired:
                raise InputError(f"another process is working on {self.folder}: wait, or choose another --out")
            remove_partial_files(self.folder)
            identity_file = self.folder / "job.json"
            if not identity_file.exists() or identity_file.read_text() != self.identity:
                self.restarted = identity_file.exists()
                for chunk in self.folder.glob("*.safetensors"):
                    chunk.unlink()
                write_atomic(identity_file, self.identity)
            self.chunks = next(index for index in count() if not self._path(index).exists())
            yield

    @property
    def files_done(self) -> int:
        """Number of files with saved results."""
        return min(self.chunks * CHUNK_SIZE, len(self.files))

    def save_chunk(self, chunk: Chunk) -> None:
        """Save the next chunk."""
        values = {"values": chunk.values.contiguous(), "scores": chunk.scores.contiguous()}
        write_atomic(self._path(self.chunks), save(values, {"broken": json.dumps(chunk.broken)}))
        self.chunks += 1

    def load_broken(self) -> Iterator[dict[str, str]]:
        """Yield a mapping from unreadable file to reason for each chunk, without reading the results."""
        for index in range(-(-len(self.files) // CHUNK_SIZE)):
            with self._explain_damage(index), safe_open(self._path(index), framework="pt") as file:
                broken = json.loads(file.metadata()["broken"])
            yield broken

    def load_chunks(self) -> Iterator[tuple[list[str], Chunk]]:
        """Yield each chunk with the paths of its readable files."""
        for start in range(0, len(self.files), CHUNK_SIZE):
            index = start // CHUNK_SIZE
            paths = [image.path for image in self.files[start : start + CHUNK_SIZE]]
            with self._explain_damage(index):
                with safe_open(self._path(index), framework="pt") as file:
                    chunk = Chunk(
                        file.get_tensor("values"), file.get_tensor("scores"), json.loads(file.metadata()["broken"])
                    )
                readable = [path for path in paths if path not in chunk.broken]
                if len(readable) != len(chunk.values):
                    raise ValueError(f"it has {len(chunk.values)} results for {len(readable)} files")
            yield readable, chunk

    @contextmanager
    def _explain_damage(self, index: int) -> Iterator[None]:
        try:
            yield
        except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{self._path(index)} is damaged ({error}): delete {self.folder} and start again"
            ) from error

    def delete_chunks(self) -> None:
        """Delete all files in the job's folder. The empty folder is deleted when the lock is released."""
        for path in self.folder.iterdir():
            with suppress(OSError):
                path.unlink()

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.safetensors"


def hash_weights(run: Run) -> str:
    """Return a SHA-256 checksum of the run's weights and of the stored features of its training images."""
    digest = hashlib.sha256()
    for path in (run.backbone, run.heads, run.typical_images):
        if path.exists():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _hash_files(files: Sequence[ImageFile]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(json.dumps([file.path, *file.stamp]).encode())
    return digest.hexdigest()
