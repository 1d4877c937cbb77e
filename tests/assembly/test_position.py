"""Positions keep the trained epochs when the number of steps per epoch changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sslkit.assembly.position import Position

Steps = st.integers(1, 10**7)


@st.composite
def positions(draw: st.DrawFn) -> Position:
    steps_per_epoch, epochs = draw(Steps), draw(st.integers(1, 1000))
    return Position(draw(Steps), draw(st.integers(0, steps_per_epoch * epochs)), steps_per_epoch, epochs)


@given(positions(), Steps)
def test_the_same_epochs_are_complete_and_the_current_one_changes_by_less_than_a_step(
    before: Position, steps_per_epoch: int
) -> None:
    now = before.resize(steps_per_epoch, before.epochs)
    assert now.taken == before.taken
    assert int(now.epoch) == now.step // steps_per_epoch == before.step // before.steps_per_epoch
    assert (now.epoch_step == 0) if before.epoch_step == 0 else True
    distance = abs(now.step * before.steps_per_epoch - before.step * steps_per_epoch)
    completes = 2 * (before.steps_per_epoch - before.epoch_step) * steps_per_epoch <= before.steps_per_epoch
    assert distance <= before.steps_per_epoch / (1 if completes and before.epoch_step else 2)


@given(positions(), Steps)
def test_it_never_reaches_the_end_unless_all_is_trained(before: Position, steps_per_epoch: int) -> None:
    now = before.resize(steps_per_epoch, before.epochs)
    assert now.taken <= now.steps
    assert (now.taken == now.steps) == (before.taken == before.steps)


@given(positions(), Steps, Steps)
def test_it_is_monotone(before: Position, steps_per_epoch: int, later: int) -> None:
    other = Position(before.taken, min(before.step + later, before.steps_per_epoch * before.epochs), *length(before))
    assert before.resize(steps_per_epoch, 1).step <= other.resize(steps_per_epoch, 1).step


@given(positions(), Steps)
def test_a_round_trip_over_at_least_as_many_steps_returns_to_the_same_position(before: Position, more: int) -> None:
    assert before.resize(before.steps_per_epoch, before.epochs) == before
    assert before.resize(before.steps_per_epoch + more, 7).resize(*length(before)) == before


def length(position: Position) -> tuple[int, int]:
    return position.steps_per_epoch, position.epochs


@pytest.mark.parametrize(
    ("step", "steps_per_epoch", "expected"),
    [(22, 4, 6), (22, 8, 12), (15, 4, 4), (29, 4, 7), (1, 1, 0), (150, 4, 40)],
    ids=["half of an epoch", "rounded up", "a complete epoch", "the last step of an epoch", "one step", "the end"],
)
def test_examples(step: int, steps_per_epoch: int, expected: int) -> None:
    position = Position(taken=step, step=step, steps_per_epoch=15, epochs=10).resize(steps_per_epoch, 10)
    assert position.step == expected
    assert position.offset == step - expected
    assert position.steps == 10 * steps_per_epoch + step - expected
