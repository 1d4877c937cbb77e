from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sslkit.errors import RunError
from sslkit.reporting.history import History, Row, read_history

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), min_size=1)


@given(st.lists(st.tuples(NAMES, st.floats(allow_nan=False)), max_size=5, unique_by=lambda item: item[0]))
def test_any_metric_comes_back(tmp_path_factory: pytest.TempPathFactory, figures: list[tuple[str, float]]) -> None:
    path = tmp_path_factory.mktemp("history") / "metrics.csv"
    history = History(path)
    history.start(0)
    history.append(3, 0.25, dict(figures))
    assert list(read_history(path)) == [Row(3, 0.25, name, value) for name, value in figures]


def test_starting_again_drops_later_rows_and_a_line_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    history = History(path)
    history.start(0)
    for step in (2, 4, 6):
        history.append(step, step / 4, {"loss": 1 / step})
    path.write_text(path.read_text() + "8,2.0,los")
    history.start(4)
    assert path.read_text() == "step,epoch,metric,value\n2,0.5,loss,0.5\n4,1.0,loss,0.25\n"


@pytest.mark.parametrize(
    "content", [b"a,b\n1,2\n", b"step,epoch,metric,value\nx,1,loss,2\n", b"\xff\xfe\n", b"step,epoch\n1\n"]
)
def test_a_damaged_file_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"metrics.csv is damaged: "):
        list(read_history(path))
