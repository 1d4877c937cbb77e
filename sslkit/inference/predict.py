"""Write the discovered classes or the features of image files to a table."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, BinaryIO

import torch

from sslkit import __version__
from sslkit.components.optional_packages import import_optional
from sslkit.data.datasets.folder.scan import find_images
from sslkit.data.pillow_messages import quiet_pillow
from sslkit.errors import InputError
from sslkit.evaluation.class_groups import group_by_name, predict_group
from sslkit.features.outliers import OutlierScorer
from sslkit.features.typical_images import load_typical_images
from sslkit.files import open_atomic
from sslkit.inference.corrected_files import CORRECTION, CorrectedFiles
from sslkit.inference.forward import Output, compute_chunks, value_scaling
from sslkit.inference.output_files import broken_file, require_new_outputs
from sslkit.inference.resumable_job import ResumableJob, hash_weights
from sslkit.inference.tables import ParquetFile, file_cell, text_cell, write_rows
from sslkit.inference.unreadable_files import write_broken_file
from sslkit.runs.class_names import read_class_names, unnamed_classes
from sslkit.runs.corrections import Row
from sslkit.runs.run import Run
from sslkit.trained.network import TrainedNetwork

OnProgress = Callable[[int, int], None]
"""Function that is called with the number of completed files and the total number of files."""


@dataclass(frozen=True)
class InferenceResult:
    """Output files of ``predict`` or ``embed``, and the unreadable images.

    Attributes:
        file: the output table, with one row for each readable image.
        images: number of rows of the output table.
        broken: number of unreadable files.
        broken_file: table of unreadable files, ``<out>.broken.csv`` (file, reason), or None if all files are readable.
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
    run: Run,
    images: Path,
    out: Path,
    device: str = "cpu",
    on_progress: OnProgress | None = None,
    *,
    overwrite: bool = False,
) -> InferenceResult:
    """Write the discovered class and the outlier score of each image as CSV.

    The columns are ``class``, ``name``, ``confidence``, ``outlier_score`` and ``file``. If a user corrected images of
    the run, there is also a column ``correction``: ``moved``, ``outlier`` or ``ignored`` for files with the content of
    a corrected image. The class of a moved image is that of the correction, and its confidence is empty. Outliers and
    ignored images have no class, name or confidence.

    The outlier score compares the features with those of up to 4096 training images (see ``outlier_scores``): 0 is
    typical, and 3.5 or more is an outlier. The score is empty if the run has no
    ``typical-images.safetensors``.

    The confidence is the probability of the class, softmax(logits / temperature), for the classifier that the run's
    evaluation uses, with the temperature of the classifier's loss. Classes with the same name are merged: their
    probabilities are added, ``name`` is the name with the largest sum, and ``class`` is the smallest class number with
    this name. ``file`` is relative to ``images``.

    Until the table is written, results are saved in ``<out>.unfinished``. After an interruption, the next call
    continues, and the table is bit-identical to that of an uninterrupted call.

    Args:
        run: a finished run with a classifier.
        images: an image file, or a folder that is searched recursively.
        out: the output file.
        device: device of the network.
        on_progress: called with the number of completed files and the total number of files.
        overwrite: whether to replace existing output files; without it, they must not exist.

    Raises:
        InputError: the run has no classifier, an output file already exists, or another process is writing it.
        DataError: there are no images, or no image can be read.
    """
    if not overwrite:
        require_new_outputs(out)
    network = TrainedNetwork(run, device)
    if not network.classes:
        raise InputError(f"{run.name} has no classifier, so it has no classes: write its features with `sslkit embed`")
    names = read_class_names(run, network.classes)
    group, group_names = group_by_name(names or [""] * network.classes)
    temperature = 1.0 if network.temperature is None else network.temperature
    corrected = CorrectedFiles(run, network.classes)
    root = images.parent if images.is_file() else images
    notes = [*network.notes, *unnamed_classes(run, names or ("",) * network.classes)]
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
                rows = map(_correct, rows, corrected.find(root, paths), repeat(corrected))
            write_rows(file, rows)

    return _run_job(run, network, images, out, device, "logits", write_table, notes, on_progress)


def embed(
    run: Run,
    images: Path,
    out: Path,
    device: str = "cpu",
    on_progress: OnProgress | None = None,
    *,
    overwrite: bool = False,
) -> InferenceResult:
    """Write the features and the outlier score of each image as Parquet.

    The columns are ``file`` (relative to ``images``), ``features`` (D float32) and ``outlier_score`` (see ``predict``).

    Until the table is written, results are saved in ``<out>.unfinished``. After an interruption, the next call
    continues, and the table is bit-identical to that of an uninterrupted call.

    Args:
        run: a finished run.
        images: an image file, or a folder that is searched recursively.
        out: the output file.
        device: device of the network.
        on_progress: called with the number of completed files and the total number of files.
        overwrite: whether to replace existing output files; without it, they must not exist.

    Raises:
        InputError: pyarrow is not installed, an output file already exists, or another process is writing it.
        DataError: there are no images, or no image can be read.
    """
    if not overwrite:
        require_new_outputs(out)
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


def _correct(cells: tuple[Any, ...], row: Row | None, corrected: CorrectedFiles) -> tuple[Any, ...]:
    """Apply a user's correction to a table row, if there is one, and insert the cell of the column ``correction``."""
    *values, score, file = cells
    if row is not None and row.action == "move":
        number = corrected.leaders.get(row.number, row.number)
        values = [number, text_cell(corrected.names.get(number, "")), ""]
    elif row is not None:
        values = ["", "", ""]
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
    unreadable = broken_file(out)
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
        broken, examples = write_broken_file(unreadable, job, images)
        with open_atomic(out) as file:
            write_table(file, job)
        job.delete_chunks()
    written = unreadable if broken else None
    return InferenceResult(out, len(files) - broken, broken, written, tuple(examples), tuple(notes))
