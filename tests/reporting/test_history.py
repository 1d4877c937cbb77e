from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sslkit.errors import RunError
from sslkit.runs.metrics_file import HEADER, History, Row, read_history

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), min_size=1)


@given(st.lists(st.tuples(NAMES, st.floats(allow_nan=False)), max_size=5, unique_by=lambda item: item[0]))
def test_any_metric_comes_back(tmp_path_factory: pytest.TempPathFactory, figures: list[tuple[str, float]]) -> None:
    path = tmp_path_factory.mktemp("history") / "metrics.csv"
    history = History(path)
    history.begin()
    history.append(3, 0.25, dict(figures))
    assert list(read_history(path)) == [Row(3, 0.25, name, value) for name, value in figures]


ROWS = "step,epoch,metric,value\n2,0.5,loss,0.5\n4,1.0,loss,0.25\n"


@pytest.fixture
def history(tmp_path: Path) -> tuple[History, int]:
    """Three rows, and the file's size after the second."""
    history = History(tmp_path / "metrics.csv")
    history.begin()
    size = 0
    for step in (2, 4, 6):
        history.append(step, step / 4, {"loss": 1 / step})
        size = history.flush() if step == 4 else size
    return history, size


def test_going_on_drops_later_rows_and_a_line_cut_short(history: tuple[History, int]) -> None:
    kept, size = history
    kept.append(4, 1.0, {"loss": 0.25})  # of the same step, but written after the checkpoint
    kept.path.write_text(kept.path.read_text() + "8,2.0,los")
    assert kept.go_on(size, 4) == ""
    assert kept.path.read_text() == ROWS


def test_what_became_of_the_history_meanwhile_is_said(history: tuple[History, int]) -> None:
    kept, size = history
    kept.path.write_bytes(b"rubbish\n2,0.5,loss,0.5\n\xff\n4,1.0,loss,0.25\n6,1.5,loss,0.1\n8,")
    assert kept.go_on(size + 100, 4) == (
        "metrics.csv was changed since step 4 was saved: the 2 rows that can be read are kept"
    )
    assert kept.path.read_text() == ROWS
    kept.path.unlink()
    assert kept.go_on(size, 4) == "metrics.csv is gone, and with it the figures up to step 4"
    assert list(read_history(kept.path)) == []


def test_a_history_that_is_removed_while_training_begins_anew(history: tuple[History, int]) -> None:
    kept, _ = history
    told: list[str] = []
    kept.tell = told.append
    kept.path.unlink()
    kept.append(8, 2.0, {"loss": 0.1})
    kept.append(10, 2.5, {"loss": 0.2})
    assert told == ["metrics.csv was removed while training: it begins anew"]
    assert list(read_history(kept.path)) == [Row(8, 2.0, "loss", 0.1), Row(10, 2.5, "loss", 0.2)]
    kept.path.unlink()
    assert kept.flush() == len(HEADER)
    kept.append(12, 3.0, {"loss": 0.3})
    assert len(told) == 2
    assert list(read_history(kept.path)) == [Row(12, 3.0, "loss", 0.3)]


def test_going_on_without_a_header_is_said(history: tuple[History, int]) -> None:
    kept, size = history
    rows = kept.path.read_text().removeprefix(HEADER)
    kept.path.write_text(rows * 4 + "9,1.0," + "x" * 200_000 + ",1\n4,1.0,acc,0.5\n")
    assert kept.go_on(size, 4) == (
        "metrics.csv was changed since step 4 was saved: the 9 rows that can be read are kept"
    )
    assert list(read_history(kept.path))[-1] == Row(4, 1.0, "acc", 0.5)


def test_going_on_does_not_wait_for_a_pipe(history: tuple[History, int], no_endless_waiting: None) -> None:
    kept, size = history
    kept.path.unlink()
    os.mkfifo(kept.path)
    with pytest.raises(RunError, match=r"metrics.csv cannot be read: it is no regular file; remove it"):
        kept.go_on(size, 4)


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
def test_a_damaged_file_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"metrics.csv is damaged: "):
        list(read_history(path))
