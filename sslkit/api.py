"""Python interface: train, resume, find, evaluate and export runs, write reports, and predict on new images."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sslkit.device.hardware import DeviceName, choose_device
from sslkit.errors import InputError
from sslkit.evaluation.build_evaluators import build_evaluators, build_other_dataset
from sslkit.evaluation.evaluate import Baseline, evaluate
from sslkit.export.export import Exported, export
from sslkit.inference.predict import InferenceResult, embed, predict
from sslkit.recipe.load import load_recipe
from sslkit.runs import find
from sslkit.runs import run as run_folder
from sslkit.runs.evaluation_result import EvaluationResult
from sslkit.runs.metrics_file import MetricsRow, read_metrics
from sslkit.trained.backbone import TrainedBackbone, load_backbone
from sslkit.training import train as training
from sslkit.training.events import Reporter

Folder = str | Path | None


class Run(run_folder.Run):
    """A run folder, ``<runs>/<name>/<id>``, with a method for each command that processes a run."""

    def evaluate(
        self,
        evaluators: str | Sequence[str] | Mapping[str, Mapping[str, Any]] = "sslkit:cluster",
        *,
        data: str | None = None,
        data_settings: Sequence[str] = (),
        baselines: Collection[Baseline] = (),
        device: DeviceName = "auto",
    ) -> EvaluationResult:
        """Evaluate the run on its test images and save the result in the run folder.

        Args:
            evaluators: a name, a list of names, or options keyed by name, such as ``{"linear": {"fractions": [0.01,
                0.1]}}``.
            data: name of another data set to evaluate on, or path of a recipe whose ``[data]`` table names a data
                set.
            data_settings: options of ``data``, each as ``data.option=value``.
            baselines: networks to evaluate for comparison. ``random`` adds the network with random weights, as the
                baseline ``random_weights``; ``pretrained`` adds the network with the weights that training started
                from, as the baseline ``pretrained_weights``.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

        Returns:
            Metrics, protocol and baselines of each evaluator. For example, ``.evaluators["cluster"].metrics["acc"]`` is
            an accuracy.

        Raises:
            SslkitError: the run has not finished, the data lack labels or a split that an evaluator needs,
                ``data_settings`` are given without ``data``, or ``pretrained`` is requested for a run that started from
                random weights.
        """
        if isinstance(evaluators, str):
            evaluators = [evaluators]
        asked = evaluators if isinstance(evaluators, Mapping) else {name: {} for name in evaluators}
        built = build_evaluators(asked)
        if data_settings and not data:
            raise InputError(f"data_settings are options of a different data set: name it with data= ({data_settings})")
        other = build_other_dataset(data, data_settings) if data else None
        return evaluate(self, built, choose_device(device), baselines=baselines, other=other)

    def report(
        self,
        *others: run_folder.Run,
        out: Folder = None,
        figures: Folder = None,
        reference: Folder = None,
        device: DeviceName = "auto",
    ) -> Path:
        """Write a report as a single HTML page that loads nothing from other files or the network.

        Args:
            others: more runs to compare on the same page.
            out: path of the page; None means ``report.html`` in the run folder, or ``comparison.html`` with ``others``.
            figures: folder for charts (SVG and PNG) and image grids (PNG); None saves no figures.
            reference: TOML file of published results to show next to the evaluations.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``; the device that computes features.

        Returns:
            Path of the page. The top of the page lists missing parts, such as those of an unfinished run.

        Raises:
            RunError: files of a run are damaged.
        """
        from sslkit.reporting.report_page import write_report

        page, folder, published = (None if path is None else Path(path) for path in (out, figures, reference))
        on = choose_device(device)
        return write_report([self, *others], page, figures=folder, reference=published, device=on)[0]

    def label(self, names: Mapping[int, str]) -> tuple[str, ...]:
        """Name the discovered classes; evaluations, reports and predictions use the names.

        Args:
            names: names, keyed by class index, such as ``{0: "cat", 3: "cat"}``. Classes with the same name are merged.
                ``""`` removes a name; other classes keep their names.

        Returns:
            Name of each class, ``""`` for a class without a name.

        Raises:
            RunError: the run has not finished, has no such class, or its ``classes.toml`` is not valid.
        """
        from sslkit.runs.name_classes import name_classes

        return name_classes(self, names)

    def predict(self, images: str | Path, out: str | Path, *, device: DeviceName = "auto") -> InferenceResult:
        """Write the discovered class and the outlier score of each image file as CSV.

        ``sslkit.inference.predict.predict`` describes the columns. After an interruption, the next call resumes.

        Args:
            images: a folder, searched recursively, or one image.
            out: path of the CSV file; the file must not exist.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

        Returns:
            The paths of the written files, and the images that could not be read.

        Raises:
            InputError: the run has no classifier, no image can be read, or an output file already exists.
        """
        return predict(self, Path(images), Path(out), choose_device(device))

    def embed(self, images: str | Path, out: str | Path, *, device: DeviceName = "auto") -> InferenceResult:
        """Write the features of each image file as Parquet: columns ``file``, ``features`` and ``outlier_score``.

        Arguments, result and errors are the same as for ``predict``, but the run needs no classifier.
        """
        return embed(self, Path(images), Path(out), choose_device(device))

    def export(self, to: str, out: str | Path) -> Exported:
        """Export the network for use in another library, verify the export, and write a model card.

        Args:
            to: ``safetensors``, ``onnx``, or a library that has the same network (``torchvision``, ``timm``).
            out: path of the file, ``.onnx`` for ONNX, else ``.safetensors``. The model card is written next to this
                file.

        Raises:
            InputError: the network has no such export (the message lists the available exports), or a file already
                exists.
        """
        return export(self, to, Path(out))

    def load_backbone(self) -> TrainedBackbone:
        """Return the trained backbone, with its image size and normalisation."""
        return load_backbone(self.path)

    def read_metrics(self) -> list[MetricsRow]:
        """Return the rows of ``metrics.csv``: step, epoch, metric, value."""
        return list(read_metrics(self.metrics))


def train(
    recipe: str | Path,
    *,
    settings: Sequence[str] = (),
    runs: Folder = None,
    continue_from: Folder = None,
    reporter: Reporter | None = None,
) -> Run:
    """Train the network that a recipe describes.

    Args:
        recipe: path of the recipe.
        settings: changes to the recipe, such as ``"train.epochs=10"``, as for ``--set``.
        runs: the folder of all runs; None means ``$SSLKIT_RUNS``, else ``./runs``.
        continue_from: a finished run whose weights become the initial weights.
        reporter: object that receives progress events; None means no output.

    Returns:
        The run. Its ``status.state`` is ``finished`` or ``interrupted``.

    Raises:
        SslkitError: the recipe, the data or a component cannot be used.

    Examples:
        >>> run = sslkit.train("recipes/quickstart.toml", settings=["train.epochs=10"])
        >>> run.evaluate().evaluators["cluster"].metrics["acc"]
    """
    root = _root(runs)
    parent = find.find_finished_run(_spec(continue_from), root)[0] if continue_from is not None else None
    return Run(training.train(load_recipe(Path(recipe), settings), root, reporter, parent).path)


def resume(
    run: Folder = None,
    *,
    runs: Folder = None,
    reporter: Reporter | None = None,
    allow: Collection[Literal["recipe", "data", "processes", "precision"]] = (),
) -> Run:
    """Continue a run from its newest checkpoint.

    The trained weights are bit-identical to those of an uninterrupted run.

    Args:
        run: the run's folder, ``NAME/ID``, ``NAME`` or ``ID``; None means the latest unfinished run.
        runs: the folder of all runs; None means ``$SSLKIT_RUNS``, else ``./runs``.
        reporter: object that receives progress events; None means no output.
        allow: kinds of changes to accept, such as ``recipe`` or ``data``. If the batch size, the number of images or
            the number of epochs changed, the run continues at the same epoch.

    Returns:
        The run.

    Raises:
        RunError: there is no such run; the run is finished, still running, or has no checkpoint; the recipe, the data,
            the processes or the precision changed; or the recipe has fewer epochs than the run has already completed.
    """
    interrupted = find.find_unfinished_run(_spec(run), _root(runs))
    return Run(training.resume(interrupted, reporter, allow).path)


def find_run(run: Folder = None, runs: Folder = None) -> Run:
    """Find a run and return it.

    Args:
        run: the run's folder, ``NAME/ID``, ``NAME`` or ``ID``; None means the latest run.
        runs: the folder of all runs; None means ``$SSLKIT_RUNS``, else ``./runs``.

    Raises:
        RunError: there is no such run.
    """
    return Run(find.find_run(_spec(run), _root(runs)).path)


def _spec(run: Folder) -> str | None:
    return None if run is None else str(run)


def _root(folder: Folder) -> Path:
    return find.runs_folder(None if folder is None else Path(folder))
