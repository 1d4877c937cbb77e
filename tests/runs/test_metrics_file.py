from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sslkit.errors import RunError
from sslkit.runs.metrics_file import HEADER, MetricsFile, MetricsRow, MetricsTail, read_metrics

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), min_size=1)
"""Strategy for names of metrics, including unusual names."""

FIRST_TWO_ROWS = "step,epoch,metric,value\n2,0.5,loss,0.5\n4,1.0,loss,0.25\n"


@given(st.lists(st.tuples(NAMES, st.floats(allow_nan=False)), max_size=5, unique_by=lambda item: item[0]))
def test_any_metric_survives_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, metrics: list[tuple[str, float]]
) -> None:
    path = tmp_path_factory.mktemp("run") / "metrics.csv"
    file = MetricsFile(path)
    file.create()
    file.append(3, 0.25, dict(metrics))
    assert list(read_metrics(path)) == [MetricsRow(3, 0.25, name, value) for name, value in metrics]


@pytest.fixture
def three_rows(tmp_path: Path) -> tuple[MetricsFile, int]:
    """A file with rows for steps 2, 4 and 6, and its size after step 4."""
    file = MetricsFile(tmp_path / "metrics.csv")
    file.create()
    size = 0
    for step in (2, 4, 6):
        file.append(step, step / 4, {"loss": 1 / step})
        size = file.flush() if step == 4 else size
    return file, size


def test_resuming_drops_later_rows_and_an_incomplete_line(three_rows: tuple[MetricsFile, int]) -> None:
    file, size = three_rows
    file.append(4, 1.0, {"loss": 0.25})  # same step, but written after the checkpoint
    file.path.write_text(file.path.read_text() + "8,2.0,los")
    assert file.resume_at(size, 4) == ""
    assert file.path.read_text() == FIRST_TWO_ROWS


def test_resuming_reports_a_changed_or_deleted_file(three_rows: tuple[MetricsFile, int]) -> None:
    file, size = three_rows
    file.path.write_bytes(b"rubbish\n2,0.5,loss,0.5\n\xff\n4,1.0,loss,0.25\n6,1.5,loss,0.1\n8,")
    assert file.resume_at(size + 100, 4) == "metrics.csv was changed after step 4 was saved: 2 valid rows are kept"
    assert file.path.read_text() == FIRST_TWO_ROWS
    file.path.unlink()
    assert file.resume_at(size, 4) == "metrics.csv was deleted: the metrics up to step 4 are lost"
    assert list(read_metrics(file.path)) == []


def test_file_deleted_during_training_is_created_again(three_rows: tuple[MetricsFile, int]) -> None:
    file, _ = three_rows
    warnings: list[str] = []
    file.warn = warnings.append
    file.path.unlink()
    file.append(8, 2.0, {"loss": 0.1})
    file.append(10, 2.5, {"loss": 0.2})
    assert warnings == ["metrics.csv was deleted during training: it is created again"]
    assert list(read_metrics(file.path)) == [MetricsRow(8, 2.0, "loss", 0.1), MetricsRow(10, 2.5, "loss", 0.2)]
    file.path.unlink()
    assert file.flush() == len(HEADER)
    file.append(12, 3.0, {"loss": 0.3})
    assert len(warnings) == 2
    assert list(read_metrics(file.path)) == [MetricsRow(12, 3.0, "loss", 0.3)]


def test_resuming_reports_a_missing_header(three_rows: tuple[MetricsFile, int]) -> None:
    file, size = three_rows
    rows = file.path.read_text().removeprefix(HEADER)
    file.path.write_text(rows * 4 + "9,1.0," + "x" * 200_000 + ",1\n4,1.0,acc,0.5\n")
    assert "was changed after step 4 was saved: 9 valid rows are kept" in file.resume_at(size, 4)
    assert list(read_metrics(file.path))[-1] == MetricsRow(4, 1.0, "acc", 0.5)


def test_resuming_does_not_block_on_a_pipe(three_rows: tuple[MetricsFile, int], fail_if_blocked: None) -> None:
    file, size = three_rows
    file.path.unlink()
    os.mkfifo(file.path)
    with pytest.raises(RunError, match=r"metrics.csv cannot be read: it is not a regular file; delete it"):
        file.resume_at(size, 4)


def test_tail_reads_each_row_once_and_notices_a_restarted_file(three_rows: tuple[MetricsFile, int]) -> None:
    file, _ = three_rows
    tail = MetricsTail(file.path)
    assert not tail.read()
    assert [row.step for row in tail.rows] == [2, 4, 6]
    tail.rows.popleft()
    file.path.write_bytes(file.path.read_bytes().replace(b"2,0.5", b"?????"))  # an earlier row of the same length
    file.append(8, 2.0, {"a\nname": 1.0, "loss": 0.1})
    assert not tail.read()
    assert [(row.step, row.metric) for row in tail.rows] == [(4, "loss"), (6, "loss"), (8, "a\nname"), (8, "loss")]
    assert not tail.read()
    assert len(tail.rows) == 4
    file.create()
    file.append(1, 0.1, {"loss": 9.0})
    assert tail.read()
    assert list(tail.rows) == [MetricsRow(1, 0.1, "loss", 9.0)]


@pytest.mark.parametrize(
    "content",
    [
        b"2,0.5,loss,0.5\n",
        b"step,epoch,metric,value\n1,1," + b"x" * 200_000 + b",2\n",
        b"a,b\n1,2\n",
        b"step,epoch,metric,value\nx,1,loss,2\n",
        b"\xff\xfe\n",
        b"step,epoch\n1\n",
    ],
)
def test_reading_refuses_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"metrics.csv is damaged: "):
        list(read_metrics(path))
