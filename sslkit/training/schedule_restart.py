"""Restart of a resumed run's schedule when the recipe's optimizer or the training's length has changed."""

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
    """Set what a new training would have at ``step``: the schedule's state and the values that it controls.

    The state of a schedule may hold the length of the old training, as that of torch's own does. So a new schedule
    takes all steps again, which works for every schedule; the rest of the optimizer's state is kept.

    Args:
        optimizer: the restored optimizer.
        schedule: its restored schedule.
        component: the recipe's optimizer, built for the training's present length.
        groups: the parameters.
        step: the training's position.
        replace_options: whether to replace all options of the parameter groups, not only what the schedule controls.
    """
    fresh = component.build(groups)
    built = [dict(group) for group in fresh.param_groups]
    replay = component.schedule(fresh)
    if isinstance(replay, Schedule):
        replay.load_state_dict({"step": step})
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch expects a step of the optimizer before each step of the schedule
            for _ in range(step):
                replay.step()
    schedule.load_state_dict(replay.state_dict())
    for group, before, now in zip(optimizer.param_groups, built, fresh.param_groups, strict=True):
        for name, value in now.items():
            controlled = name == "lr" or name not in before or bool(before[name] != value)
            if name != "params" and (replace_options or controlled):
                group[name] = value
