"""What the command line does, for Python: train, resume, find, evaluate and show runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sslkit.device.hardware import DeviceName, choose_hardware
from sslkit.errors import InputError
from sslkit.evaluation.evaluate import build_evaluators, evaluate, other_data
from sslkit.export.export import Exported, export
from sslkit.inference.predict import Written, embed, predict
from sslkit.recipe.load import load_recipe
from sslkit.runs import find as finding
from sslkit.runs import run as run_folder
from sslkit.runs.evaluation_result import EvaluationResult
from sslkit.runs.metrics_file import Row, read_metrics
from sslkit.trained.backbone import TrainedBackbone, load_backbone
from sslkit.training import train as training
from sslkit.training.events import Reporter

Folder = str | Path | None


class Run(run_folder.Run):
    """A run folder, ``<runs>/<name>/<id>``, and what can be asked of it."""

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
        other = other_data(data, data_settings) if data else None
        return evaluate(self, built, choose_hardware(device, "auto").device, random_baseline=random_baseline, other=other)

    def report(
        self,
        *others: run_folder.Run,
        out: Folder = None,
        figures: Folder = None,
        reference: str | None = None,
        device: DeviceName = "auto",
    ) -> Path:
        """Write a page that shows what was trained, found and scored; it needs no network and no other file.

        Args:
            others: runs to compare this one with, on the same page.
            out: the page; ``report.html`` in the run where None, ``comparison.html`` where there are others.
            figures: a folder for the figures as files: charts as SVG and PNG, grids of images as PNG.
            reference: ``report-a`` or ``report-b``, published figures to show; where None, those on the run's data set.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``; where features are computed.

        Returns:
            The page.  What could not be shown, of an unfinished run say, it tells at its top.

        Raises:
            RunError: a run's files are damaged.
        """
        from sslkit.reporting.report_page import write_report

        page, folder = (None if path is None else Path(path) for path in (out, figures))
        on = choose_hardware(device, "auto").device
        return write_report([self, *others], page, figures=folder, reference=reference, device=on)[0]

    def label(self, names: Mapping[int, str] | None = None, *, device: DeviceName = "auto") -> tuple[str, ...]:
        """Name the classes that the run discovered; evaluations, reports and predictions then use the names.

        Args:
            names: by class, ``{0: "cat", 3: "cat"}``: the same name twice makes one class of two, ``""`` takes a name
                away, and classes left out keep theirs.  None: write ``label.html``, which shows the classes, and
                ``classes.toml``, with a line for each that has no name yet.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``; where features are computed.

        Returns:
            The name of every class, ``""`` for those without.

        Raises:
            RunError: the run has not finished, or discovered no such classes, or its ``classes.toml`` is damaged.
        """
        from sslkit.reporting.label_page import label, name_classes

        if names is not None:
            return name_classes(self, names)
        return label(self, choose_hardware(device, "auto").device).names

    def predict(self, images: str | Path, out: str | Path, *, device: DeviceName = "auto") -> Written:
        """Write the discovered class of each image file as CSV: ``class``, ``name``, ``confidence``, ``file``.

        What these are is told in ``sslkit.inference.predict.predict``.  Interrupted or killed, the next call goes on.

        Args:
            images: a folder, searched at any depth, or one image.
            out: the table; must not be there yet.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

        Raises:
            InputError: the run has no classifier, there are no images that can be read, or a file is in the way.
        """
        return predict(self, Path(images), Path(out), choose_hardware(device, "auto").device)

    def embed(self, images: str | Path, out: str | Path, *, device: DeviceName = "auto") -> Written:
        """Write the feature of each image file as Parquet: ``file``, ``features``; otherwise as ``predict``."""
        return embed(self, Path(images), Path(out), choose_hardware(device, "auto").device)

    def export(self, to: str, out: str | Path) -> Exported:
        """Write the network for another library, tried with that library, with a model card beside it.

        Args:
            to: ``safetensors``, ``onnx``, or a library that the backbone has a counterpart in (torchvision, timm).
            out: the file, ``.onnx`` for that, else ``.safetensors``.

        Raises:
            InputError: this network cannot be exported so (the message tells to what it can), or a file is in the way.
        """
        return export(self, to, Path(out))

    def load_backbone(self) -> TrainedBackbone:
        """The trained backbone, and how images are prepared for it."""
        return load_backbone(self.path)

    def history(self) -> list[Row]:
        """The rows of ``metrics.csv``: step, epoch, metric, value."""
        return list(read_metrics(self.metrics))


def train(
    recipe: str | Path,
    *,
    settings: Sequence[str] = (),
    runs: Folder = None,
    continue_from: Folder = None,
    reporter: Reporter | None = None,
) -> Run:
    """Train a recipe from the beginning.

    Args:
        recipe: the recipe's file.
        settings: ``path=value`` each, as ``--set`` takes them.
        runs: the folder of all runs; as the command line finds it where None.
        continue_from: a finished run whose weights this one begins with.
        reporter: who is told how it goes; nobody where None.

    Returns:
        The run; its status tells whether it finished or was interrupted.

    Raises:
        SslkitError: the recipe, the data or the components cannot be used.
    """
    parent = find_run(continue_from, runs) if continue_from is not None else None
    return _own(training.train(load_recipe(Path(recipe), settings), _root(runs), reporter, parent))


def resume(
    run: Folder = None,
    *,
    runs: Folder = None,
    reporter: Reporter | None = None,
    allow: Collection[Literal["recipe", "data", "processes", "precision"]] = (),
) -> Run:
    """Go on with a run from its last checkpoint, as if it had never stopped.

    Args:
        run: its folder, ``NAME/ID``, ``NAME`` or ``ID``; the latest unfinished one where None.
        runs: the folder of all runs.
        reporter: who is told how it goes.
        allow: what may have changed since it was stopped.

    Raises:
        RunError: there is no such run, or it is finished, still running, or stopped before its first checkpoint;
            recipe or data have changed.
    """
    found = finding.find_run(_spec(run), _root(runs), unfinished=True)
    return _own(training.resume(found, reporter, allow))


def find_run(run: Folder = None, runs: Folder = None) -> Run:
    """A run by its folder, ``NAME/ID``, ``NAME`` or ``ID``; the latest where None.

    Raises:
        RunError: there is no such run.
    """
    return _own(finding.find_run(_spec(run), _root(runs)))


def _own(run: run_folder.Run) -> Run:
    return Run(run.path)


def _spec(run: Folder) -> str | None:
    return None if run is None else str(run)


def _root(folder: Folder) -> Path:
    return finding.runs_folder(None if folder is None else Path(folder))
