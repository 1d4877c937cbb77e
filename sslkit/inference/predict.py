"""Classes and features of image files, written to a table."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from sslkit import __version__
from sslkit.data.datasets.folder.scan import images_at, shown
from sslkit.errors import DataError, InputError
from sslkit.evaluation.class_naming import choose, grouping
from sslkit.files import open_atomic, require_new_file
from sslkit.inference.forward import Output, chunks
from sslkit.inference.job import Job, unfinished, weights_fingerprint
from sslkit.inference.tables import (
    ParquetFile,
    file_cell,
    require_parquet,
    text_cell,
    write_rows,
)
from sslkit.runs.class_names import read_class_names
from sslkit.runs.run import Run
from sslkit.trained.network import TrainedNetwork

LISTED = 100
"""Broken files that are named in the result; all are in the table of broken files."""

Advance = Callable[[int, int], None]
"""Told how many files are done, and of how many."""


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        file: the table, a row for each file that gave an image.
        images: how many these are.
        broken: how many files gave none.
        broken_file: their table, ``<out>.broken.csv`` (file, reason); None where there are none.
        examples: the first of them, with the reasons.
        notes: what a user should know, in sentences.
    """

    file: Path
    images: int
    broken: int
    broken_file: Path | None
    examples: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def predict(run: Run, images: Path, out: Path, device: str = "cpu", advance: Advance | None = None) -> Written:
    """The discovered class of each image, as CSV: ``class``, ``name``, ``confidence``, ``file``.

    The confidence is the class's probability, softmax(logits / temperature) of the classifier that evaluation uses, at
    the temperature at which the run's loss reads it.  Classes that were given one name count as one: their
    probabilities are added, and ``class`` is the likeliest of them.  ``file`` is relative to ``images``.

    What is done is kept beside ``out``; interrupted or killed, the next call goes on, to the same bits.

    Args:
        run: a finished run with a classifier.
        images: a folder, searched at any depth, or an image.
        out: the table; must not be there yet.
        device: where the network computes.
        advance: told how it goes.

    Raises:
        InputError: the run has no classifier, a file is in the way, or another process writes it.
        DataError: there are no images, or none can be read.
    """
    network = TrainedNetwork(run, device)
    if not network.classes:
        raise InputError(
            f"{run.name} has no classifier, so it discovered no classes: `sslkit embed` writes its features"
        )
    names = read_class_names(run, network.classes)
    group, group_names = grouping(names or [""] * network.classes)
    temperature = 1.0 if network.temperature is None else network.temperature
    notes = [*network.notes] + ["nobody has named the classes: `sslkit label` asks for names"] * (names is None)
    if network.temperature is None:
        notes.append("the run does not tell at which temperature its loss reads logits: confidence is taken at 1")

    def table(file: BinaryIO, job: Job) -> None:
        write_rows(file, [("class", "name", "confidence", "file")])
        for paths, chunk in job.results():
            likeliest, chosen, confidence = choose(chunk.values, temperature, group)
            rows = zip(likeliest.tolist(), chosen.tolist(), confidence.tolist(), paths, strict=True)
            write_rows(
                file,
                (
                    (place, text_cell(group_names[named]), round(sure, 6), file_cell(path))
                    for place, named, sure, path in rows
                ),
            )

    return _write(run, network, images, out, device, "logits", table, notes, advance)


def embed(run: Run, images: Path, out: Path, device: str = "cpu", advance: Advance | None = None) -> Written:
    """The feature of each image, as Parquet: ``file`` (relative to ``images``), ``features`` (D float32).

    What is done is kept beside ``out``; interrupted or killed, the next call goes on, to the same bits.

    Args:
        run: a finished run.
        images: a folder, searched at any depth, or an image.
        out: the table; must not be there yet.
        device: where the network computes.
        advance: told how it goes.

    Raises:
        InputError: pyarrow is not installed, a file is in the way, or another process writes it.
        DataError: there are no images, or none can be read.
    """
    require_parquet()
    network = TrainedNetwork(run, device)
    width = network.metadata["feature_dim"]
    metadata = {"sslkit": json.dumps({"run": run.name, "feature_dim": width})}

    def table(file: BinaryIO, job: Job) -> None:
        parquet = ParquetFile(file, width, metadata)
        for paths, chunk in job.results():
            parquet.add(paths, chunk.values)
        parquet.close()

    return _write(run, network, images, out, device, "features", table, list(network.notes), advance)


def _write(
    run: Run,
    network: TrainedNetwork,
    images: Path,
    out: Path,
    device: str,
    output: Output,
    table: Callable[[BinaryIO, Job], None],
    notes: list[str],
    advance: Advance | None,
) -> Written:
    broken_file = out.with_name(f"{out.name}.broken.csv")
    # A listing beside chunks is that of a call which was killed before it had written the table.
    require_new_file(out, *([] if unfinished(out).exists() else [broken_file]))
    root, files = images_at(images)
    identity: dict[str, Any] = {"output": output, "weights": weights_fingerprint(run), "device": device}
    identity |= network.identity
    job = Job(out, identity | {"sslkit": __version__, "torch": torch.__version__}, files)
    with job.held():
        done = job.done
        if job.begun_anew:
            notes.append(f"{job.folder} was of other images or another network: everything was computed anew")
        elif done:
            notes.append(f"went on after {done} of {len(files)} files")

        def progress(count: int) -> None:
            if advance is not None:
                advance(done + count, len(files))

        progress(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd files; those that matter are among the broken
            for chunk in chunks(run, network, device, root, files[done:], output, progress):
                job.keep(chunk)
        count = 0
        examples: list[tuple[str, str]] = []
        with ExitStack() as stack:
            listing = None
            for _, chunk in job.results():
                if chunk.broken and listing is None:
                    listing = stack.enter_context(open_atomic(broken_file))
                    write_rows(listing, [("file", "reason")])
                if listing is not None:
                    write_rows(listing, ((file_cell(path), text_cell(why)) for path, why in chunk.broken.items()))
                examples += list(chunk.broken.items())[: LISTED - len(examples)]
                count += len(chunk.broken)
            if listing is None:
                broken_file.unlink(missing_ok=True)  # of a try that failed before the files were repaired
            if count == len(files):
                job.remove()
                first = ": ".join(map(shown, examples[0]))
                raise DataError(f"none of the {count} images of {images} can be read; the first is {first}")
        with open_atomic(out) as file:
            table(file, job)
        job.remove()
    return Written(out, len(files) - count, count, broken_file if count else None, tuple(examples), tuple(notes))
