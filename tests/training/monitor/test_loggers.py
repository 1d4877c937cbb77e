"""Loggers receive each row of metrics.csv once, even if training or the logger fails."""

from __future__ import annotations

import json
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest
from recording_reporter import RecordingReporter, at_step

from sslkit.errors import RecipeError
from sslkit.recipe.load import load_recipe
from sslkit.runs.metrics_file import read_metrics
from sslkit.runs.run import Run
from sslkit.training.monitor import loggers
from sslkit.training.train import resume, train


def crash() -> None:
    raise RuntimeError("killed")


def to_single(value: float) -> float:
    return float(numpy.float32(value))


def csv_rows(run: Run) -> Counter[tuple[str, int, float]]:
    """Return the rows of metrics.csv, rounded to single precision as the tools store them."""
    return Counter((row.metric, row.step, to_single(row.value)) for row in read_metrics(run.metrics))


def tensorboard_rows(run: Run) -> Counter[tuple[str, int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: Counter[tuple[str, int, float]] = Counter()
    for file in (run.path / "tensorboard").glob("events*"):
        events = EventAccumulator(str(file), size_guidance={"tensors": 0, "scalars": 0})
        events.Reload()
        for name in events.Tags()["scalars"]:
            found.update((name, event.step, event.value) for event in events.Scalars(name) if name != "epoch")
    return found


def wandb_rows(run: Run) -> Counter[tuple[str, int, float]]:
    from wandb.proto.wandb_internal_pb2 import Record

    found: Counter[tuple[str, int, float]] = Counter()
    runs = set()
    for file in (run.path / "wandb").glob("offline-run-*/*.wandb"):
        for data in leveldb_records(file.read_bytes()):
            record = Record()
            record.ParseFromString(data)
            runs |= {record.run.run_id} - {""}
            metrics = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            step = metrics.pop("trainer/global_step", None)
            found.update((name, step, to_single(value)) for name, value in metrics.items() if not name.startswith("_"))
    assert runs == {run.name.replace("/", "-")}, "all parts belong to one W&B run"
    return found


def leveldb_records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a LevelDB log (blocks of 32 KiB), which is W&B's format of offline runs."""
    position, record = 7, b""
    while position < len(data):
        room = 32768 - position % 32768
        if room < 7:
            position += room
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


def mlflow_rows(run: Run) -> Counter[tuple[str, int, float]]:
    from mlflow import MlflowClient

    run_id = json.loads((run.path / "loggers.json").read_text())["mlflow"]["id"]
    client = MlflowClient()
    assert client.get_run(run_id).info.status == ("FINISHED" if run.status.state == "finished" else "FAILED")
    names = client.get_run(run_id).data.metrics
    return Counter(
        (name, each.step, to_single(each.value)) for name in names for each in client.get_metric_history(run_id, name)
    )


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tools offline and their files in the test's folder."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "wandb-data"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "wandb-cache"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.mark.parametrize(
    ("name", "read_rows"),
    [
        pytest.param("tensorboard", tensorboard_rows, id="tensorboard"),
        pytest.param("wandb", wandb_rows, id="wandb"),
        pytest.param("mlflow", mlflow_rows, id="mlflow"),
    ],
)
def test_a_tool_has_every_row_once_after_a_killed_training_is_resumed(
    name: str, read_rows: Callable[[Run], Counter[tuple[str, int, float]]], tiny: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(tiny, [f'run.loggers=["{name}"]', "train.checkpoint_every=2 steps"])
    killed, resumed = at_step(7, crash), RecordingReporter()
    with pytest.raises(RuntimeError, match="killed"):
        train(recipe, tmp_path / "runs", killed)
    assert not [note for note in killed.notes if "the logger" in note]
    (path,) = (tmp_path / "runs" / "tiny").iterdir()
    run = Run(path)
    assert {step for _, step, _ in read_rows(run)} == {0, 3, 5, 6}, "rows after the last checkpoint are not sent"
    resume(run, resumed)
    assert not [note for note in resumed.notes if "the logger" in note]
    deadline = time.monotonic() + 30  # the process of W&B may still be writing
    while read_rows(run) != csv_rows(run) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert read_rows(run) == csv_rows(run)
    assert max(csv_rows(run).values()) == 1

    plain = train(load_recipe(tiny, ["train.checkpoint_every=2 steps"]), tmp_path / "plain")
    assert plain.backbone.read_bytes()[-1000:] == run.backbone.read_bytes()[-1000:], "loggers do not change training"


class RecordingLogger:
    """Logger that appends received rows to a list."""

    def __init__(self, received: list[tuple[str, int, float]]) -> None:
        self.received = received

    def log_hyperparams(self, resolved: dict) -> None:
        assert resolved["run"]["seed"] == 7

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.received.extend((name, step, to_single(value)) for name, value in metrics.items())

    def finalize(self, status: str) -> None:
        assert status == "success"


def use_logger(monkeypatch: pytest.MonkeyPatch, logger: RecordingLogger) -> list[str]:
    """Use a logger in place of TensorBoard's; return the settings for it."""
    monkeypatch.setitem(loggers.FACTORIES, "tensorboard", lambda run, progress: logger)
    return ['run.loggers=["tensorboard"]', "train.checkpoint_every=3 steps"]


def test_a_failing_logger_does_not_stop_the_training_and_gets_its_rows_later(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[int] = []
    finalized: list[str] = []

    class FailsTwice(RecordingLogger):
        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            attempts.append(step)
            if len(attempts) <= 2:
                raise ConnectionError("no network")
            super().log_metrics(metrics, step)

        def finalize(self, status: str) -> None:
            finalized.append(status)

    received: list[tuple[str, int, float]] = []
    reporter = RecordingReporter()
    settings = use_logger(monkeypatch, FailsTwice(received))
    run = train(load_recipe(tiny, settings), tmp_path / "runs", reporter)
    assert run.status.state == "finished"
    (note,) = [note for note in reporter.notes if "the logger" in note]
    assert note.startswith("warning: the logger 'tensorboard' fails: ConnectionError: no network; ")
    assert "tried again later" in note
    assert Counter(received) == csv_rows(run)
    assert finalized == ["success"]


@pytest.mark.parametrize("recovers", [True, False])
def test_missing_rows_are_sent_at_the_end_or_reported(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recovers: bool
) -> None:
    attempts: list[int] = []

    class Fails(RecordingLogger):
        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            attempts.append(step)
            if len(attempts) == 1 or not recovers:
                raise ConnectionError("no network")
            super().log_metrics(metrics, step)

    received: list[tuple[str, int, float]] = []
    reporter = RecordingReporter()
    settings = [*use_logger(monkeypatch, Fails(received)), "train.checkpoint_every=1000 steps"]
    run = train(load_recipe(tiny, settings), tmp_path / "runs", reporter)
    reported = any("tensorboard did not receive the last metrics" in note for note in reporter.notes)
    assert reported is not recovers
    assert (Counter(received) == csv_rows(run)) is recovers


def test_rows_are_sent_again_if_their_count_was_not_saved(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die_at_second_write(path: Path, text: str) -> None:
        if len(writes) == 1:
            raise Killed
        writes.append(text)
        write_atomic(path, text)

    received: list[tuple[str, int, float]] = []
    writes: list[str] = []
    write_atomic = loggers.write_atomic
    settings = use_logger(monkeypatch, RecordingLogger(received))
    monkeypatch.setattr(RecordingLogger, "finalize", lambda self, status: None)
    with monkeypatch.context() as patch:
        patch.setattr(loggers, "write_atomic", die_at_second_write)
        with pytest.raises(Killed):
            train(load_recipe(tiny, settings), tmp_path / "runs")
    (path,) = (tmp_path / "runs" / "tiny").iterdir()
    run = Run(path)
    assert max(step for _, step, _ in received) == 6
    resume(run)
    sent = Counter(received)
    assert sent.keys() == csv_rows(run).keys()
    assert {step for (_, step, _), times in sent.items() if times == 2} == {5, 6}
    assert max(sent.values()) == 2


def test_a_restarted_metrics_file_is_sent_from_its_start(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove_metrics() -> None:
        (run,) = (tmp_path / "runs" / "tiny").iterdir()
        (run / "metrics.csv").unlink()

    received: list[tuple[str, int, float]] = []
    settings = [*use_logger(monkeypatch, RecordingLogger(received)), "monitor.log_every_steps=1"]
    run = train(load_recipe(tiny, settings), tmp_path / "runs", at_step(4, remove_metrics))
    assert {step for _, step, _ in csv_rows(run)} == {5, 6, 7, 8, 9, 10}
    assert {step for _, step, _ in received} == {0, 1, 2, 3, 5, 6, 7, 8, 9, 10}
    assert not csv_rows(run).keys() - set(received)


def test_a_logger_whose_package_is_missing_is_refused_before_the_data_are_read(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(RecipeError) as error:
        train(load_recipe(tiny, ['run.loggers=["wandb", "mlflow"]']), tmp_path / "runs")
    for name, problem in zip(("wandb", "mlflow"), map(str, error.value.problems), strict=True):
        assert problem.startswith('--set run.loggers=["wandb", "mlflow"]: run.loggers: ')
        assert f"{name!r} needs the package {name}, which is not installed" in problem
        assert f"pip install 'sslkit[{name}]'" in problem
    assert not (tmp_path / "runs").exists()
