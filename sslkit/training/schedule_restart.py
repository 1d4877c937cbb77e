"""Restart the learning-rate schedule of a resumed run whose optimizer options or length have changed."""

from __future__ import annotations

import warnings

import torch
from torch.optim.lr_scheduler import LRScheduler

from sslkit.contracts.optimizer import Optimizer, ParameterGroup
from sslkit.optimizers.schedule import Schedule


def restart_schedule(
    optimizer: torch.optim.Optimizer,
    schedule: LRScheduler,
    component: Optimizer,
    groups: tuple[ParameterGroup, ...],
    step: int,
    *,
    replace_options: bool,
) -> None:
    """Set the schedule, and the values that it controls, to their state after ``step`` steps of a new training run.

    The restored schedule may contain the old length of the training run, as PyTorch's schedules do. Its state is
    therefore replaced by that of a new schedule after ``step`` steps. The optimizer keeps its state, such as momentum.

    Args:
        optimizer: the restored optimizer.
        schedule: the restored schedule of ``optimizer``.
        component: the optimizer component of the recipe, built for the current length.
        groups: the parameter groups.
        step: number of steps; see ``Position.step``.
        replace_options: whether to replace all options of the parameter groups; else only values that the schedule
            controls.
    """
    fresh = component.build(groups)
    built = [dict(group) for group in fresh.param_groups]
    replay = component.schedule(fresh)
    if isinstance(replay, Schedule):
        replay.load_state_dict({"step": step})
    else:
        with warnings.catch_warnings(action="ignore"):  # torch warns about schedule steps without optimizer steps
            for _ in range(step):
                replay.step()
    schedule.load_state_dict(replay.state_dict())
    for group, before, now in zip(optimizer.param_groups, built, fresh.param_groups, strict=True):
        for name, value in now.items():
            controlled = name == "lr" or name not in before or bool(before[name] != value)
            if name != "params" and (replace_options or controlled):
                group[name] = value
