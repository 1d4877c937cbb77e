"""Write the discovered classes or the features of image files to a table."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, BinaryIO

import torch

from sslkit import __version__
from sslkit.components.optional_packages import import_optional
from sslkit.data.datasets.folder.scan import find_images, printable
from sslkit.data.pillow_messages import quiet_pillow
from sslkit.errors import DataError, InputError
from sslkit.evaluation.class_groups import group_by_name, predict_group
from sslkit.features.outliers import OutlierScorer
from sslkit.features.typical_images import load_typical_images
from sslkit.files import open_atomic, require_new_file
from sslkit.inference.corrected_files import CORRECTION, CorrectedFiles
from sslkit.inference.forward import Output, compute_chunks, value_scaling
from sslkit.inference.resumable_job import ResumableJob, hash_weights, job_folder
from sslkit.inference.tables import ParquetFile, file_cell, text_cell, write_rows
from sslkit.runs.class_names import read_class_names
from sslkit.runs.corrections import Row
from sslkit.runs.run import Run
from sslkit.trained.network import TrainedNetwork

MAX_EXAMPLES = 100
"""Largest number of unreadable files in ``InferenceResult.examples``."""

OnProgress = Callable[[int, int], None]
"""Function that is called with the number of completed files and the total number of files."""


@dataclass(frozen=True)
class InferenceResult:
    """Output files of ``predict`` or ``embed``, and the unreadable images.

    Attributes:
        file: the output table, with one row for each readable image.
        images: number of rows of the output table.
        broken: number of unreadable files.
        broken_file: table of the unreadable files, ``<out>.broken.csv`` (file, reason); None if all files are readable.
        examples: a path and a reason for each of the first few unreadable files.
        notes: sentences to print for the user.
    """

    file: Path
    images: int
    broken: int
    broken_file: Path | None
    examples: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def predict(
    run: Run, images: Path, out: Path, device: str = "cpu", on_progress: OnProgress | None = None
) -> InferenceResult:
    """Write the discovered class and the outlier score of each image as CSV.

    The columns are ``class``, ``name``, ``confidence``, ``outlier_score`` and ``file``. If a user corrected images of
    the run, there is also a column ``correction``: ``moved``, ``outlier`` or ``ignored`` for files with the content of
    a corrected image. The class of a moved image is that of the correction, and its confidence is empty.

    The outlier score compares the features with those of up to 4096 training images (see ``outlier_scores``): 0 is
    typical, and 3.5 or more is an outlier. The score is empty if the run has no
    ``typical-images.safetensors``.

    The confidence is the probability of the class, softmax(logits / temperature), for the classifier that the run's
    evaluation uses, with the temperature of the classifier's loss. Classes with the same name are merged: their
    probabilities are added, ``name`` is the name with the largest sum, and ``class`` is the most probable of the
    classes with this name. ``file`` is relative to ``images``.

    Until the table is written, results are saved in ``<out>.unfinished``. After an interruption, the next call
    continues, and the table is bit-identical to that of an uninterrupted call.

    Args:
        run: a finished run with a classifier.
        images: an image file, or a folder that is searched recursively.
        out: the output file; must not exist.
        device: device of the network.
        on_progress: called with the number of completed files and the total number of files.

    Raises:
        InputError: the run has no classifier, an output file already exists, or another process is writing it.
        DataError: there are no images, or no image can be read.
    """
    network = TrainedNetwork(run, device)
    if not network.classes:
        raise InputError(f"{run.name} has no classifier, so it has no classes: write its features with `sslkit embed`")
    names = read_class_names(run, network.classes)
    group, group_names = group_by_name(names or [""] * network.classes)
    temperature = 1.0 if network.temperature is None else network.temperature
    corrected = CorrectedFiles(run, network.classes)
    root = images.parent if images.is_file() else images
    notes = [*network.notes] + ["the classes have no names: name them with `sslkit label`"] * (names is None)
    if network.temperature is None:
        notes.append("the run's loss defines no temperature for logits: confidence is computed with temperature 1")

    def write_table(file: BinaryIO, job: ResumableJob) -> None:
        columns = ("class", "name", "confidence", "outlier_score", *(["correction"] if corrected else []), "file")
        write_rows(file, [columns])
        for paths, chunk in job.load_chunks():
            classes, groups, confidence = predict_group(chunk.values, temperature, group)
            scores = map(_score_cell, chunk.scores.tolist())
            names_of = (text_cell(group_names[index]) for index in groups.tolist())
            probabilities = (round(value, 6) for value in confidence.tolist())
            cells = (classes.tolist(), names_of, probabilities, scores, map(file_cell, paths))
            rows: Iterable[tuple[Any, ...]] = zip(*cells, strict=True)
            if corrected:
                rows = map(_correct, rows, corrected.find(root, paths), repeat(corrected.names))
            write_rows(file, rows)

    return _run_job(run, network, images, out, device, "logits", write_table, notes, on_progress)


def embed(
    run: Run, images: Path, out: Path, device: str = "cpu", on_progress: OnProgress | None = None
) -> InferenceResult:
    """Write the features and the outlier score of each image as Parquet.

    The columns are ``file`` (relative to ``images``), ``features`` (D float32) and ``outlier_score`` (see ``predict``).

    Until the table is written, results are saved in ``<out>.unfinished``. After an interruption, the next call
    continues, and the table is bit-identical to that of an uninterrupted call.

    Args:
        run: a finished run.
        images: an image file, or a folder that is searched recursively.
        out: the output file; must not exist.
        device: device of the network.
        on_progress: called with the number of completed files and the total number of files.

    Raises:
        InputError: pyarrow is not installed, an output file already exists, or another process is writing it.
        DataError: there are no images, or no image can be read.
    """
    import_optional("pyarrow", "Parquet", "parquet")  # before the network runs
    network = TrainedNetwork(run, device)
    feature_dim = network.metadata["feature_dim"]
    metadata = {"sslkit": json.dumps({"run": run.name, "feature_dim": feature_dim})}

    def write_table(file: BinaryIO, job: ResumableJob) -> None:
        parquet = ParquetFile(file, feature_dim, metadata)
        for paths, chunk in job.load_chunks():
            parquet.append(paths, chunk.values, chunk.scores)
        parquet.close()

    return _run_job(run, network, images, out, device, "features", write_table, list(network.notes), on_progress)


def _correct(cells: tuple[Any, ...], row: Row | None, names: Mapping[int, str]) -> tuple[Any, ...]:
    """Return a row of the table with the column ``correction``."""
    *values, score, file = cells
    if row is not None and row.action == "move":
        values = [row.number, text_cell(names.get(row.number, "")), ""]
    return *values, score, CORRECTION[row.action] if row else "", file


def _score_cell(score: float) -> float | str:
    return "" if math.isnan(score) else round(score, 3)


def _run_job(
    run: Run,
    network: TrainedNetwork,
    images: Path,
    out: Path,
    device: str,
    output: Output,
    write_table: Callable[[BinaryIO, ResumableJob], None],
    notes: list[str],
    on_progress: OnProgress | None,
) -> InferenceResult:
    """Compute the results that are not yet saved, then write the table of unreadable files and the output table.

    ``write_table`` writes the output table from the saved results.
    """
    broken_file = out.with_name(f"{out.name}.broken.csv")
    # If there are saved chunks, the table of unreadable files is from an earlier call that was killed.
    require_new_file(out, *([] if job_folder(out).exists() else [broken_file]))
    root, files = find_images(images)
    references = load_typical_images(run.typical_images, network.metadata["feature_dim"])
    scorer = None if references is None else OutlierScorer(references.to(device))
    if scorer is None:
        notes.append(f"there are no outlier scores, because {run.typical_images} does not exist")
    identity: dict[str, Any] = {"output": output, "weights": hash_weights(run), "device": device}
    identity |= {**network.identity, "value_range": value_scaling(network)}
    job = ResumableJob(out, identity | {"sslkit": __version__, "torch": torch.__version__}, files)
    with job.locked():
        already_done = job.files_done
        if job.restarted:
            notes.append(f"{job.folder} was for other images or another network: everything was computed again")
        elif already_done:
            notes.append(f"continued after {already_done} of {len(files)} files")

        def report(count: int) -> None:
            if on_progress is not None:
                on_progress(already_done + count, len(files))

        report(0)
        with quiet_pillow():
            for chunk in compute_chunks(run, network, device, root, files[already_done:], output, scorer, report):
                job.save_chunk(chunk)
        broken, examples = _write_broken_file(broken_file, job, images)
        with open_atomic(out) as file:
            write_table(file, job)
        job.delete_chunks()
    written = broken_file if broken else None
    return InferenceResult(out, len(files) - broken, broken, written, tuple(examples), tuple(notes))


def _write_broken_file(path: Path, job: ResumableJob, images: Path) -> tuple[int, list[tuple[str, str]]]:
    """Write the table of unreadable files, if there are any.

    Returns:
        The number of unreadable files, and a path and a reason for each of the first few.

    Raises:
        DataError: all files are unreadable. No table is written.
    """
    count = 0
    examples: list[tuple[str, str]] = []
    with ExitStack() as stack:
        file: BinaryIO | None = None
        for broken in job.load_broken():
            if broken and file is None:
                file = stack.enter_context(open_atomic(path))
                write_rows(file, [("file", "reason")])
            if file is not None:
                write_rows(file, ((file_cell(name), text_cell(reason)) for name, reason in broken.items()))
            examples += list(broken.items())[: MAX_EXAMPLES - len(examples)]
            count += len(broken)
        if count == len(job.files):
            job.delete_chunks()
            first = ": ".join(map(printable, examples[0]))
            raise DataError(f"none of the {count} images in {images} can be read; the first is {first}")
    if not count:
        path.unlink(missing_ok=True)  # may exist from an earlier call, before the files were repaired
    return count, examples
