"""The Python interface: train, resume, find, evaluate, report, predict and export runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sslkit.device.hardware import DeviceName, choose_device
from sslkit.errors import InputError
from sslkit.evaluation.build_evaluators import build_evaluators, build_other_dataset
from sslkit.evaluation.evaluate import evaluate
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
    """A run folder, ``<runs>/<name>/<id>``, with methods for what the command line does with it."""

    def evaluate(
        self,
        evaluators: str | Sequence[str] | Mapping[str, Mapping[str, Any]] = "sslkit:cluster",
        *,
        data: str | None = None,
        data_settings: Sequence[str] = (),
        random_baseline: bool = False,
        device: DeviceName = "auto",
    ) -> EvaluationResult:
        """Evaluate the run on its test images and save the result in the run folder.

        Args:
            evaluators: a name, several, or options by name, such as ``{"linear": {"fractions": [0.01, 0.1]}}``.
            data: name of another data set to evaluate on, or a recipe whose ``[data]`` table names one.
            data_settings: options of that data set, each as ``data.option=value``.
            random_baseline: also evaluate the network with random weights, as the baseline ``random_weights``.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

        Returns:
            Metrics, protocol and baselines of each evaluator, such as ``.evaluators["cluster"].metrics["acc"]``.

        Raises:
            SslkitError: the run has not finished, the data lack what an evaluator needs, or ``data_settings`` are given
                without ``data``.
        """
        if isinstance(evaluators, str):
            evaluators = [evaluators]
        asked = evaluators if isinstance(evaluators, Mapping) else {name: {} for name in evaluators}
        built = build_evaluators(asked)
        if data_settings and not data:
            raise InputError(f"data_settings are options of another data set: name it with data= ({data_settings})")
        other = build_other_dataset(data, data_settings) if data else None
        return evaluate(self, built, choose_device(device), random_baseline=random_baseline, other=other)

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
            others: runs to compare on the same page.
            out: the page; None means ``report.html`` in the run folder, or ``comparison.html`` with ``others``.
            figures: folder to save the figures in: charts as SVG and PNG, image grids as PNG; None saves none.
            reference: TOML file of published results to show next to the evaluations.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``; the device that computes features.

        Returns:
            Path of the page. The top of the page lists what is missing, for instance in an unfinished run.

        Raises:
            RunError: files of a run are damaged.
        """
        from sslkit.reporting.report_page import write_report

        page, folder, published = (None if path is None else Path(path) for path in (out, figures, reference))
        on = choose_device(device)
        return write_report([self, *others], page, figures=folder, reference=published, device=on)[0]

    def label(self, names: Mapping[int, str] | None = None, *, device: DeviceName = "auto") -> tuple[str, ...]:
        """Name the discovered classes; evaluations, reports and predictions use the names.

        Args:
            names: names by class index, such as ``{0: "cat", 3: "cat"}``. Classes with the same name are merged, ``""``
                removes a name, and other classes keep theirs. None writes ``label.html``, which shows the images of
                each class, and ``classes.toml``, in which you enter the names.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``; the device that computes features.

        Returns:
            Name of each class, ``""`` for a class without a name.

        Raises:
            RunError: the run has not finished, has no such class, or its ``classes.toml`` is not valid.
        """
        from sslkit.reporting.label_page import name_classes, write_label_page

        if names is not None:
            return name_classes(self, names)
        return write_label_page(self, choose_device(device))[1]

    def predict(self, images: str | Path, out: str | Path, *, device: DeviceName = "auto") -> InferenceResult:
        """Write the discovered class of each image file as CSV: ``class``, ``name``, ``confidence``, ``file``.

        ``sslkit.inference.predict.predict`` describes the columns. After an interruption the next call continues.

        Args:
            images: a folder, searched recursively, or one image.
            out: the table; must not exist.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

        Returns:
            The files written, and the images that could not be read.

        Raises:
            InputError: the run has no classifier, no image can be read, or a file exists already.
        """
        return predict(self, Path(images), Path(out), choose_device(device))

    def embed(self, images: str | Path, out: str | Path, *, device: DeviceName = "auto") -> InferenceResult:
        """Write the features of each image file as Parquet: ``file``, ``features``.

        Arguments, result and errors are those of ``predict``; the run needs no classifier.
        """
        return embed(self, Path(images), Path(out), choose_device(device))

    def export(self, to: str, out: str | Path) -> Exported:
        """Export the network for another library, verify it with that library, and write a model card.

        Args:
            to: ``safetensors``, ``onnx``, or a library with an equal network (``torchvision``, ``timm``).
            out: the file; ``.onnx`` for ONNX, else ``.safetensors``. The model card is written next to it.

        Raises:
            InputError: the network has no such export (the message lists those it has), or a file exists already.
        """
        return export(self, to, Path(out))

    def load_backbone(self) -> TrainedBackbone:
        """Return the trained backbone with the image size and normalisation that it needs."""
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
    """Train a recipe.

    Args:
        recipe: path of the recipe.
        settings: changes to the recipe, ``path=value`` each, as for ``--set``.
        runs: the folder of all runs; None means ``$SSLKIT_RUNS``, else ``./runs``.
        continue_from: a finished run to take the initial weights from.
        reporter: receives progress events; None means no output.

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
    return _as_api_run(training.train(load_recipe(Path(recipe), settings), root, reporter, parent))


def resume(
    run: Folder = None,
    *,
    runs: Folder = None,
    reporter: Reporter | None = None,
    allow: Collection[Literal["recipe", "data", "processes", "precision"]] = (),
) -> Run:
    """Continue a run from its last checkpoint; the result has the same bits as an uninterrupted run.

    Args:
        run: the run's folder, ``NAME/ID``, ``NAME`` or ``ID``; None means the latest unfinished run.
        runs: the folder of all runs; None means ``$SSLKIT_RUNS``, else ``./runs``.
        reporter: receives progress events; None means no output.
        allow: changes since the interruption that are accepted. With another batch size, number of images or number of
            epochs, the run continues at the same epoch.

    Returns:
        The run.

    Raises:
        RunError: there is no such run; it is finished, still running or has no checkpoint; or the recipe, the data,
            the processes or the precision have changed; or the recipe has fewer epochs than are trained.
    """
    interrupted = find.find_unfinished_run(_spec(run), _root(runs))
    return _as_api_run(training.resume(interrupted, reporter, allow))


def find_run(run: Folder = None, runs: Folder = None) -> Run:
    """Return a run.

    Args:
        run: the run's folder, ``NAME/ID``, ``NAME`` or ``ID``; None means the latest run.
        runs: the folder of all runs; None means ``$SSLKIT_RUNS``, else ``./runs``.

    Raises:
        RunError: there is no such run.
    """
    return _as_api_run(find.find_run(_spec(run), _root(runs)))


def _as_api_run(run: run_folder.Run) -> Run:
    return Run(run.path)


def _spec(run: Folder) -> str | None:
    return None if run is None else str(run)


def _root(folder: Folder) -> Path:
    return find.runs_folder(None if folder is None else Path(folder))
