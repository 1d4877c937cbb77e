"""The log of corrections: nothing saved is lost, whatever interrupts a write."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit.errors import RunError
from sslkit.runs.corrections import COLUMNS, CorrectionsLog, Row, read_steps

HOSTILE = st.text(max_size=20) | st.sampled_from(
    ["=1+1", "-2", "@x", '"', "a\nb\r", "\u2028", "\\", "caf\udce9.png", "'"]
)
ROWS = st.builds(
    Row,
    action=st.sampled_from(["move", "outlier", "ignore", "restore", "name"]),
    number=st.integers(-1, 10**6),
    content=st.text("0123456789abcdef", max_size=64),
    bytes=st.integers(-1, 10**12),
    file=HOSTILE,
    name=st.text(max_size=20).filter(lambda text: text.isascii()) | st.sampled_from(["=x", "é\n", "猫"]),
    before=st.just(""),
)
STEPS = st.lists(st.lists(ROWS, min_size=1, max_size=4).map(tuple), max_size=5)

MOVE = (Row("move", 3, "ab" * 32, 100, "a.png"), Row("move", 3, "cd" * 32, 120, "b.png"))
NAME = (Row("name", 3, name="cat", before="dog"),)


def save(folder: Path, *steps: tuple[Row, ...]) -> bytes:
    log = CorrectionsLog(folder)
    for step in steps:
        log.append(step)
    log.close()
    return log.path.read_bytes()


@settings(deadline=None, max_examples=50)
@given(steps=STEPS)
def test_any_steps_are_read_as_they_were_written(steps: list[tuple[Row, ...]], tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("run")
    data = save(folder, *steps)
    assert read_steps(folder / "corrections.csv") == (steps, len(data))
    assert data.count(b"\n") == 1 + sum(map(len, steps)), "each row is one line"
    assert not any(line.split(b",")[0].startswith((b"=", b"+", b"-", b"@")) for line in data.split(b"\n")[1:])


def test_a_cell_is_never_a_formula(tmp_path: Path) -> None:
    text = save(tmp_path, (Row("name", 1, name="=1+1", before="@x"), Row("move", 1, "ab", 3, "+a.png"))).decode()
    assert text.splitlines()[1:] == [
        r"0,2,name,1,,-1,,\u003d1+1,\u0040x",
        r"0,2,move,1,ab,3,\u002ba.png,,",
    ]


def test_a_log_that_is_cut_anywhere_keeps_all_complete_steps_and_can_be_continued(tmp_path: Path) -> None:
    data = save(tmp_path, MOVE, NAME)
    path = tmp_path / "corrections.csv"
    ends = [len(data.split(b"\n")[0]) + 1, len(data) - len(data.split(b"\n")[3]) - 1, len(data)]
    for length in range(ends[0], len(data) + 1):
        path.write_bytes(data[:length])
        complete = [step for step, end in zip((MOVE, NAME), ends[1:], strict=True) if end <= length]
        log = CorrectionsLog(tmp_path)
        assert log.steps == complete
        log.append(NAME)
        log.close()
        assert read_steps(path)[0] == [*complete, NAME]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0,1,fly,3,,-1,,,", "unknown action 'fly'"),
        ("0,1,name,x,,-1,,,", "invalid literal"),
        ("0,1,name,1,,-1,,", "8 cells instead of 9"),
        ("7,1,name,1,,-1,,,", "step 7 of 1 rows is out of order"),
        ("0,0,name,1,,-1,,,", "step 0 of 0 rows is out of order"),
        ('0,1,name,1,,-1,,"x,', "the row is damaged"),
        (r"0,1,name,1,,-1,,\q,", "the row is damaged"),
    ],
)
def test_a_damaged_row_is_reported_with_its_line_and_the_file_does_not_change(
    line: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "corrections.csv"
    path.write_text(f"{','.join(COLUMNS)}\n{line}\n")
    before = path.read_bytes()
    with pytest.raises(RunError, match=rf"corrections\.csv:2: .*{message}"):
        CorrectionsLog(tmp_path)
    assert path.read_bytes() == before


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "corrections.csv").write_text("a,b\n")
    with pytest.raises(RunError, match=r"corrections\.csv:1: the first line must name the columns step,rows,"):
        CorrectionsLog(tmp_path)


def test_two_processes_cannot_correct_a_run_at_the_same_time(tmp_path: Path) -> None:
    first = CorrectionsLog(tmp_path)
    with pytest.raises(RunError, match="another `sslkit explore` has opened"):
        CorrectionsLog(tmp_path)
    first.close()
    CorrectionsLog(tmp_path).close()


def test_a_full_disk_leaves_the_saved_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = CorrectionsLog(tmp_path)
    log.append(MOVE)
    before, write = log.path.read_bytes(), os.write

    with monkeypatch.context() as patch:
        calls: list[int] = []

        def partial(descriptor: int, data: bytes) -> int:
            calls.append(len(data))
            if len(calls) > 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(descriptor, data[:10])

        patch.setattr(os, "write", partial)
        with pytest.raises(RunError, match="cannot be written: No space left on device"):
            log.append(NAME)
    assert log.path.read_bytes() == before
    assert log.steps == [MOVE]
    log.append(NAME)
    log.close()
    assert read_steps(log.path)[0] == [MOVE, NAME]
