"""Undo and redo, compared with a model that stores a copy of the state before each step."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit.errors import RunError
from sslkit.runs.correction_history import History
from sslkit.runs.corrections import CorrectionsLog, Row

CONTENTS = ("aa", "bb", "cc")
IMAGE_ROW = st.builds(
    Row,
    action=st.sampled_from(["move", "outlier", "ignore", "restore"]),
    number=st.integers(0, 3),
    content=st.sampled_from(CONTENTS),
    bytes=st.just(1),
)
STEP = st.lists(IMAGE_ROW, min_size=1, max_size=3).map(tuple)
ACTIONS = st.lists(STEP | st.sampled_from(["undo", "redo", "reopen"]), max_size=25)


@settings(deadline=None, max_examples=50)
@given(actions=ACTIONS)
def test_undo_and_redo_restore_every_earlier_state(actions: list, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("run")
    log = CorrectionsLog(folder)
    history = History()
    states: list[dict[str, Row]] = [{}]
    position = 0
    for action in actions:
        if action == "reopen":
            log.close()
            log = CorrectionsLog(folder)
            history = History.of(log.steps)
        elif isinstance(action, str):
            numbers = history.done if action == "undo" else history.undone
            if not numbers:
                continue
            step = (Row(action, numbers[-1]),)  # type: ignore[arg-type]
            log.append(step)
            history.add(step)
            position += -1 if action == "undo" else 1
        else:
            log.append(action)
            history.add(action)
            state = dict(states[position])
            for row in action:
                if row.action == "restore":
                    state.pop(row.content, None)
                else:
                    state[row.content] = row
            states = [*states[: position + 1], state]
            position += 1
        assert history.image_corrections() == states[position]
        assert (len(history.done), len(history.undone)) == (position, len(states) - 1 - position)
    log.close()


def test_a_log_that_undoes_another_step_is_refused() -> None:
    with pytest.raises(RunError, match="step 1 of the corrections cannot undo step 5"):
        History.of([(Row("move", 1, "aa", 1),), (Row("undo", 5),)])
    with pytest.raises(RunError, match="step 0 of the corrections cannot redo step 0"):
        History.of([(Row("redo", 0),)])


def test_numbers_of_added_classes_are_never_used_again() -> None:
    history = History.of([(Row("move", 7, "aa", 1),), (Row("undo", 0),)])
    assert history.next_class(5) == 8
    assert History().next_class(5) == 5
