"""How near a recipe's training comes to its bare backbone on this machine, and what takes the difference.

The ceiling is the backbone's forward and backward pass and the optimizer's step on views that lie ready on the device,
in the precision, memory order and gradients of the training.  The other side is the training itself, with everything:
Lightning, logging, views, data.  Between them stand the stages of ``STAGES``, each with one thing more, so that
differences tell what each thing costs.  All are measured in one process, in turns, so that a machine that becomes
slower is slower for all of them.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from sslkit.assembly.assemble import Assembly
from sslkit.contracts.method import Batch
from sslkit.device.hardware import Hardware
from sslkit.device.small_feature_maps import small_map_gradients
from sslkit.optimizers.groups import parameter_groups
from sslkit.recipe.model import Recipe
from sslkit.runs.run import Run
from sslkit.training.events import Progress, Reporter
from sslkit.training.fit import fit
from sslkit.training.learner import Learner
from sslkit.training.setup import prepare

STAGES = ("backbone", "model", "views", "data")
"""The backbone alone; with heads and losses; with making the views; with fetching the images."""

END = "end_to_end"

ENDLESS = 1_000_000
"""Epochs of the training that is measured, so that it neither ends nor saves before."""

WARM_UP = 3
"""Steps of each side before anything is measured."""

ADVICE = {
    "model": "the backbone itself: take a smaller one, smaller or fewer views, or train.compile = true",
    "heads and losses": "heads, losses, and a teacher where there is one: take fewer classifiers or narrower layers",
    "views": "making the views: take fewer or smaller crops, or fewer effects",
    "data": "fetching the images: smaller ones may fit into memory, where they are fetched fastest",
    "logging": "what is done around a step: take a larger train.batch_size or monitor.log_every_steps",
}
"""What to do, by what takes most of the time beyond the ceiling; ``model`` where little is lost."""

NEAR = 0.9
"""From this part of the ceiling on, the model is what limits a training."""


class _Enough(BaseException):
    """Everything has been measured: the training may stop."""


def bench(recipe: Recipe, rounds: int, seconds: float, reporter: Reporter | None = None) -> dict[str, Any]:
    """Train a recipe for a while, in turns with its parts, and compare.

    Args:
        recipe: a checked recipe; trained by one process, and no monitor and no checkpoint is due while it is measured.
        rounds: turns of each side.
        seconds: how long each turn should take, at least one step.
        reporter: who is told about choices.

    Returns:
        ``images_per_second`` of both sides and ``ratio`` (medians over the rounds), ``ratios`` of each round,
        ``seconds_per_step`` by side and by ``cost``, ``limit`` and ``advice``, and the ``protocol``.
    """
    hardware, assembly, processes = prepare(_endless(recipe), reporter or Reporter())
    sides = Sides(assembly, hardware)
    turns = _Turns(sides, assembly, rounds, seconds)
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder), "bench")
        run.provenance.write_text("{}")
        run.write_status("running", 0, assembly.context.total_steps, 0, assembly.context.epochs)
        with suppress(_Enough):
            fit(run, assembly, hardware, processes, turns, checkpoint=None)
    return _summary(turns, assembly, hardware)


def _endless(recipe: Recipe) -> Recipe:
    alone = {"epochs": ENDLESS, "checkpoint_every": f"{ENDLESS} epochs", "devices": 1, "nodes": 1}
    train = recipe.train.model_copy(update=alone)
    return replace(
        recipe, train=train, monitor=recipe.monitor.model_copy(update={"every_epochs": 0, "collapse": "off"})
    )


class Sides:
    """One step of each stage, on a copy of the network."""

    def __init__(self, assembly: Assembly, hardware: Hardware) -> None:
        self.assembly = replace(assembly, method=copy.deepcopy(assembly.method))
        self.device = torch.device(hardware.device)
        self.learner = Learner(self.assembly, hardware).to(self.device)
        self.half = hardware.precision == "bfloat16"
        self.optimizer = assembly.optimizer.build(parameter_groups(self.learner.method))
        self.loader = copy.copy(assembly.loader)
        self.loader.stop = assembly.context.total_steps
        self.batches = self._fetch()
        self.images, self.indices = next(self.batches)
        self.views = self.learner.make_views(self.images, step=0)
        self.step = 0

    def _fetch(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            for images, indices in self.loader:
                yield images.to(self.device, non_blocking=True), indices.to(self.device, non_blocking=True)

    def take(self, stage: str) -> None:
        """One step."""
        images, indices = next(self.batches) if stage == "data" else (self.images, self.indices)
        views = self.learner.make_views(images, self.step) if stage in ("views", "data") else self.views
        self.step += 1
        method = self.learner.method
        self.optimizer.zero_grad()
        half = torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half)
        with half, small_map_gradients(self.device.type):
            if stage == "backbone":
                loss = torch.stack([method.backbone(group.flatten(0, 1)).float().mean() for group in views]).sum()
            else:
                loss = method(Batch(views, self.assembly.views.global_views, indices, self.step, 0)).loss
        loss.backward()
        if stage != "backbone":
            method.after_backward(self.step)
        self.optimizer.step()
        if stage != "backbone":
            method.after_step()

    def wait(self) -> None:
        """Until the device has done everything."""
        if self.device.type != "cpu":
            torch.get_device_module(self.device).synchronize()


class _Turns(Reporter):
    """Interrupts the training after so many steps for a turn of each stage; stops it after the last round."""

    def __init__(self, sides: Sides, assembly: Assembly, rounds: int, seconds: float) -> None:
        self.sides, self.rounds, self.seconds = sides, rounds, seconds
        self.steps = 1
        self.seen = 0
        self.began = 0.0
        self.rest = assembly.context.total_steps
        self.times: dict[str, list[float]] = {stage: [] for stage in (*STAGES, END)}

    def step(self, progress: Progress) -> None:
        self.seen += 1
        if self.seen < WARM_UP:
            return
        if self.seen == WARM_UP:
            slowest = max(self._timed(stage, WARM_UP) for stage in STAGES)
            self.steps = max(1, round(self.seconds / slowest))
        elif (self.seen - WARM_UP) % self.steps:
            return
        else:
            self.sides.wait()
            self.times[END].append((time.perf_counter() - self.began) / self.steps)
            for stage in STAGES:
                self.times[stage].append(self._timed(stage, self.steps))
        if len(self.times[END]) == self.rounds:
            raise _Enough
        self.sides.wait()
        self.began = time.perf_counter()

    def _timed(self, stage: str, steps: int) -> float:
        self.sides.wait()
        began = time.perf_counter()
        for _ in range(steps):
            self.sides.take(stage)
        self.sides.wait()
        return (time.perf_counter() - began) / steps


def costs(times: dict[str, list[float]]) -> dict[str, float]:
    """Seconds of a step that each thing adds to the stage before it, the median over the rounds; never negative.

    Args:
        times: by stage, and end to end, seconds of a step in each round.
    """
    stages = zip(("heads and losses", "views", "data", "logging"), STAGES, (*STAGES[1:], END), strict=True)
    added = {
        name: max(0.0, median(after - before for before, after in zip(times[less], times[more], strict=True)))
        for name, less, more in stages
    }
    return {"model": median(times["backbone"]), **added}


def limit(ratio: float, cost: dict[str, float]) -> str:
    """What a user should look at: the model where little is lost, else what costs most beside it."""
    if ratio >= NEAR:
        return "model"
    return max((name for name in cost if name != "model"), key=lambda name: cost[name])


def _summary(turns: _Turns, assembly: Assembly, hardware: Hardware) -> dict[str, Any]:
    times = {name: median(found) for name, found in turns.times.items()}
    ratios = [bare / whole for bare, whole in zip(turns.times["backbone"], turns.times[END], strict=True)]
    cost, ratio, batch = costs(turns.times), median(ratios), assembly.context.batch_size
    found = limit(ratio, cost)
    return {
        "images_per_second": {"ceiling": batch / times["backbone"], END: batch / times[END]},
        "ratio": ratio,
        "ratios": ratios,
        "seconds_per_step": times,
        "cost": cost,
        "limit": found,
        "advice": ADVICE[found],
        "protocol": {
            "ceiling": "forward and backward pass of the backbone and the optimizer's step, on views that lie ready",
            "rounds": turns.rounds,
            "steps_per_round": turns.steps,
            "batch_size": batch,
            "views": [[group.count, group.size] for group in assembly.views.groups],
            "device": hardware.device,
            "precision": hardware.precision,
            "why": hardware.reason,
            "channels_last": hardware.channels_last,
            "compiled": assembly.recipe.train.compile,
            "processes": 1,
            "threads": torch.get_num_threads(),
            "seed": assembly.recipe.run.seed,
        },
    }
