"""Work on many files whose results are kept chunk by chunk, so that it may be stopped, or killed, at any time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from sslkit.data.datasets.folder.scan import ImageFile
from sslkit.errors import InputError
from sslkit.files import remove_partial_files, to_json, write_atomic
from sslkit.inference.forward import CHUNK, Chunk
from sslkit.locks import hold
from sslkit.runs.run import Run


def unfinished(out: Path) -> Path:
    """The folder of what is done of a file that is not made yet."""
    return out.with_name(f"{out.name}.unfinished")


class Job:
    """The chunks that are done of what ``out`` will be made of, in the folder ``<out>.unfinished``.

    Args:
        out: the file that will be made.
        identity: what the results depend on; chunks of anything else are thrown away.
        files: the files.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any], files: Sequence[ImageFile]) -> None:
        self.folder = unfinished(out)
        self.identity = to_json({**identity, "chunk": CHUNK, "files": _fingerprint(files)})
        self.files = files
        self.begun_anew = False
        """Whether there were chunks that could not be used."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the folder to this process; the hold ends with the process, however that ends.

        Raises:
            InputError: another process works on the same file, or the file system cannot tell.
        """
        self.folder.mkdir(exist_ok=True)
        try:
            with self._locked():
                yield
        finally:
            # It goes only if it is empty, and after the lock is closed: on a network drive open files keep theirs.
            with suppress(OSError):
                self.folder.rmdir()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("a") as lock:
            try:
                free = hold(lock)
            except OSError as error:
                raise InputError(
                    f"{self.folder} is on a file system that cannot lock files ({error.strerror}), so nothing keeps "
                    "two processes apart there: name an --out on another"
                ) from error
            if not free:
                raise InputError(f"another process is working on {self.folder}: wait, or name another --out")
            remove_partial_files(self.folder)
            description = self.folder / "job.json"
            if not description.exists() or description.read_text() != self.identity:
                self.begun_anew = description.exists()
                for chunk in self.folder.glob("*.safetensors"):
                    chunk.unlink()
                write_atomic(description, self.identity)
            yield

    @property
    def done(self) -> int:
        """How many files are done."""
        count = 0
        while self._path(count).exists():
            count += 1
        return min(count * CHUNK, len(self.files))

    def keep(self, chunk: Chunk) -> None:
        """Add the next chunk."""
        values = {"values": chunk.values.contiguous()}
        write_atomic(self._path(-(-self.done // CHUNK)), save(values, {"broken": json.dumps(chunk.broken)}))

    def results(self) -> Iterator[tuple[list[str], Chunk]]:
        """Each chunk, with the paths of its files that gave an image."""
        for start in range(0, len(self.files), CHUNK):
            stored = self._path(start // CHUNK)
            paths = [image.path for image in self.files[start : start + CHUNK]]
            try:
                with safe_open(stored, framework="pt") as file:
                    chunk = Chunk(file.get_tensor("values"), json.loads(file.metadata()["broken"]))
                read = [path for path in paths if path not in chunk.broken]
                if len(read) != len(chunk.values):
                    raise ValueError(f"{len(chunk.values)} results of {len(read)} files")
            except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
                raise InputError(f"{stored} is damaged ({error}): remove {self.folder} and begin anew") from error
            yield read, chunk

    def remove(self) -> None:
        """Throw the chunks away: the file is made.  The folder goes once it is not held any more."""
        for path in self.folder.iterdir():
            with suppress(OSError):
                path.unlink()

    def _path(self, place: int) -> Path:
        return self.folder / f"{place:06d}.safetensors"


def weights_fingerprint(run: Run) -> str:
    """A name for the run's weights, by content."""
    digest = hashlib.sha256()
    for path in (run.backbone, run.heads):
        if path.exists():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _fingerprint(files: Sequence[ImageFile]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(json.dumps([file.path, *file.stamp]).encode())
    return digest.hexdigest()
