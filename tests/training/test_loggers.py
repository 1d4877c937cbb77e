"""Rows of metrics.csv, shown by other tools: all of them, once each, whatever becomes of the training or the tool."""

from __future__ import annotations

import json
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest

from sslkit.errors import RecipeError
from sslkit.recipe.check import load_recipe
from sslkit.runs.metrics_file import read_history
from sslkit.runs.run import Run
from sslkit.training.events import Progress, Reporter
from sslkit.training.monitor import loggers
from sslkit.training.train import resume, train


class Notes(Reporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Stop(Notes):
    """Stops a training like a crash, after a step."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def step(self, progress: Progress) -> None:
        if progress.step == self.after:
            raise RuntimeError("killed")


def single(value: float) -> float:
    return float(numpy.float32(value))


def rows(run: Run) -> Counter[tuple[str, int, float]]:
    """What is in metrics.csv, as tools with single precision keep it."""
    return Counter((row.metric, row.step, single(row.value)) for row in read_history(run.metrics))


def in_tensorboard(run: Run) -> Counter[tuple[str, int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: Counter[tuple[str, int, float]] = Counter()
    for file in (run.path / "tensorboard").glob("events*"):
        events = EventAccumulator(str(file), size_guidance={"tensors": 0, "scalars": 0})
        events.Reload()
        for name in events.Tags()["scalars"]:
            found.update((name, event.step, event.value) for event in events.Scalars(name) if name != "epoch")
    return found


def in_wandb(run: Run) -> Counter[tuple[str, int, float]]:
    from wandb.proto.wandb_internal_pb2 import Record

    found: Counter[tuple[str, int, float]] = Counter()
    runs = set()
    for file in (run.path / "wandb").glob("offline-run-*/*.wandb"):
        for data in leveldb_log(file.read_bytes()):
            record = Record()
            record.ParseFromString(data)
            runs |= {record.run.run_id} - {""}
            figures = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            step = figures.pop("trainer/global_step", None)
            found.update((name, step, single(value)) for name, value in figures.items() if not name.startswith("_"))
    assert runs == {run.name.replace("/", "-")}, "W&B shows them as one run when they are synchronised"
    return found


def leveldb_log(data: bytes) -> Iterator[bytes]:
    """The records of a log in LevelDB's format, blocks of 32 KiB, as W&B keeps a run that is offline."""
    at, record = 7, b""
    while at < len(data):
        room = 32768 - at % 32768
        if room < 7:
            at += room
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


def in_mlflow(run: Run) -> Counter[tuple[str, int, float]]:
    from mlflow import MlflowClient

    known = json.loads((run.path / "loggers.json").read_text())["mlflow"]["id"]
    client = MlflowClient()
    assert client.get_run(known).info.status == ("FINISHED" if run.status.state == "finished" else "FAILED")
    names = client.get_run(known).data.metrics
    return Counter(
        (name, each.step, single(each.value)) for name in names for each in client.get_metric_history(known, name)
    )


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent anywhere, and nothing written outside the test's folder."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "wandb-data"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "wandb-cache"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        pytest.param("tensorboard", in_tensorboard, id="tensorboard"),
        pytest.param("wandb", in_wandb, id="wandb"),
        pytest.param("mlflow", in_mlflow, id="mlflow"),
    ],
)
def test_a_tool_shows_every_row_once_though_the_training_was_killed(
    name: str, kept: Callable[[Run], Counter[tuple[str, int, float]]], tiny: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(tiny, [f'run.loggers=["{name}"]', "train.checkpoint_every=2 steps"])
    stop, notes = Stop(after=7), Notes()
    with pytest.raises(RuntimeError, match="killed"):
        train(recipe, tmp_path / "runs", stop)
    assert not [note for note in stop.notes if "logger" in note]
    (path,) = (tmp_path / "runs" / "tiny").iterdir()
    run = Run(path)
    assert {step for _, step, _ in kept(run)} == {0, 3, 5, 6}, "what no checkpoint had kept was not sent"
    resume(run, notes)
    assert not [note for note in notes.notes if "logger" in note]
    waiting = time.monotonic() + 30  # W&B's own process may still be writing when it says that it has finished
    while kept(run) != rows(run) and time.monotonic() < waiting:
        time.sleep(0.2)
    assert kept(run) == rows(run)
    assert max(rows(run).values()) == 1

    plain = train(load_recipe(tiny, ["train.checkpoint_every=2 steps"]), tmp_path / "plain")
    assert plain.backbone.read_bytes()[-1000:] == run.backbone.read_bytes()[-1000:], "the same weights as without"


def test_a_tool_that_fails_stops_no_training_and_is_told_later(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, dict[str, float]]] = []
    tries = 0

    class Fails:
        def log_hyperparams(self, resolved: dict) -> None:
            assert resolved["run"]["seed"] == 7

        def log_metrics(self, figures: dict[str, float], step: int) -> None:
            nonlocal tries
            tries += 1
            if tries <= 2:
                raise ConnectionError("no network")
            told.append((step, figures))

        def finalize(self, status: str) -> None:
            told.append((-1, {status: 0.0}))

    monkeypatch.setitem(loggers.MAKE, "tensorboard", lambda run, known: Fails())
    notes = Notes()
    settings = ['run.loggers=["tensorboard"]', "train.checkpoint_every=3 steps"]
    run = train(load_recipe(tiny, settings), tmp_path / "runs", notes)
    assert run.status.state == "finished"
    assert [note for note in notes.notes if "logger" in note] == [
        "warning: the logger 'tensorboard' fails: ConnectionError: no network; metrics.csv has all figures, and it is "
        "tried again later"
    ]
    sent = Counter((name, step) for step, figures in told[:-1] for name in figures)
    assert sent == Counter((row.metric, row.step) for row in read_history(run.metrics))
    assert told[-1] == (-1, {"success": 0.0})


@pytest.mark.parametrize("comes_back", [True, False])
def test_what_no_later_checkpoint_sends_is_sent_at_the_end_or_said(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    told: list[int] = []
    tries: list[int] = []

    class Fails(Keeps):
        def log_metrics(self, figures: dict[str, float], step: int) -> None:
            tries.append(step)
            if len(tries) == 1 or not comes_back:
                raise ConnectionError("no network")
            told.append(step)

    monkeypatch.setitem(loggers.MAKE, "tensorboard", lambda run, known: Fails([]))
    notes = Notes()
    settings = ['run.loggers=["tensorboard"]', "train.checkpoint_every=1000 steps"]
    run = train(load_recipe(tiny, settings), tmp_path / "runs", notes)
    said = "warning: tensorboard will not be sent the newest figures any more: metrics.csv has all"
    assert (said in notes.notes) is not comes_back
    assert (told == sorted({row.step for row in read_history(run.metrics)})) is comes_back


class Keeps:
    """A tool that writes what it is sent into a list."""

    def __init__(self, told: list[tuple[str, int, float]]) -> None:
        self.told = told

    def log_hyperparams(self, resolved: dict) -> None: ...

    def log_metrics(self, figures: dict[str, float], step: int) -> None:
        self.told.extend((name, step, single(value)) for name, value in figures.items())

    def finalize(self, status: str) -> None: ...


def test_rows_are_sent_again_where_nobody_could_note_that_they_were(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def dies(path: Path, text: str) -> None:
        if len(notes) == 1:
            raise Killed
        notes.append(text)
        honest(path, text)

    told: list[tuple[str, int, float]] = []
    notes: list[str] = []
    honest = loggers.write_atomic
    monkeypatch.setitem(loggers.MAKE, "tensorboard", lambda run, known: Keeps(told))
    settings = ['run.loggers=["tensorboard"]', "train.checkpoint_every=3 steps"]
    with monkeypatch.context() as patch:
        patch.setattr(loggers, "write_atomic", dies)
        with pytest.raises(Killed):
            train(load_recipe(tiny, settings), tmp_path / "runs")
    (path,) = (tmp_path / "runs" / "tiny").iterdir()
    run = Run(path)
    assert max(step for _, step, _ in told) == 6
    resume(run)
    sent = Counter(told)
    assert sent.keys() == rows(run).keys()
    assert {step for (_, step, _), times in sent.items() if times == 2} == {5, 6}
    assert max(sent.values()) == 2


def test_a_history_that_began_anew_is_sent_whole(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Vandal(Notes):
        def step(self, progress: Progress) -> None:
            if progress.step == 4:
                (run,) = (tmp_path / "runs" / "tiny").iterdir()
                (run / "metrics.csv").unlink()

    told: list[tuple[str, int, float]] = []
    monkeypatch.setitem(loggers.MAKE, "tensorboard", lambda run, known: Keeps(told))
    settings = ['run.loggers=["tensorboard"]', "train.checkpoint_every=3 steps", "monitor.log_every_steps=1"]
    run = train(load_recipe(tiny, settings), tmp_path / "runs", Vandal())
    assert {step for _, step, _ in rows(run)} == {5, 6, 7, 8, 9, 10}
    assert {step for _, step, _ in told} == {0, 1, 2, 3, 5, 6, 7, 8, 9, 10}
    assert not rows(run).keys() - set(told)


def test_a_missing_package_is_said_before_anything_is_read(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(RecipeError) as error:
        train(load_recipe(tiny, ['run.loggers=["wandb", "mlflow"]']), tmp_path / "runs")
    source = '--set run.loggers=["wandb", "mlflow"]: run.loggers:'
    assert [str(problem) for problem in error.value.problems] == [
        f"{source} {name!r} needs the package {name}, which is not installed "
        f"(pip install 'sslkit[{name}]', or leave it out)"
        for name in ("wandb", "mlflow")
    ]
    assert not (tmp_path / "runs").exists()
