"""What has changed since a run was stopped.  To go on with another recipe or other data is another training."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from sslkit.assembly.assemble import Assembly
from sslkit.errors import RunError
from sslkit.runs.records import read_provenance
from sslkit.runs.run import Run
from sslkit.training.provenance import DATA

Change = Literal["recipe", "data", "processes", "precision"]
"""What a user may allow to have changed."""

HARDWARE = ("device", "name", "threads", "channels_last")
"""What else of the hardware may change the bits."""


@dataclass(frozen=True)
class Changes:
    """What has changed, in sentences.

    Attributes:
        allowed: because the user said so.
        told: may give other bits, but is no other training.
    """

    allowed: tuple[str, ...]
    told: tuple[str, ...]


def refuse_changes(
    run: Run,
    checkpoint: Mapping[str, Any],
    assembly: Assembly,
    now: Mapping[str, Any],
    allow: Collection[Change],
) -> Changes:
    """Compare what is about to be trained with what was.

    Args:
        run: the run, which is about to go on.
        checkpoint: what it goes on from.
        assembly: what is about to be trained.
        now: its ``provenance``.
        allow: what may have changed, because the user says so.

    Raises:
        RunError: something that is not allowed has changed, or the checkpoint does not fit the network.
    """
    record = read_provenance(run)
    before = record["hardware"]
    try:
        recipe, processes = tomllib.loads(checkpoint["recipe"]), int(checkpoint["processes"])
        weights = _shapes(checkpoint["state_dict"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"the checkpoints of {run.name} are none of sslkit's, or damaged: {error!r}") from error
    # Of these the recipe only says what is asked for; what counts is what it came to.
    settled = ("devices", "nodes", "precision")
    recipes = (_without(recipe, settled), _without(assembly.recipe.resolved(), settled))
    precision = before["precision"]
    found: dict[Change, list[str]] = {
        "recipe": list(differences(*recipes)),
        "processes": list(differences({"their number": processes}, {"their number": now["processes"]["count"]})),
        "precision": [
            f'{line}; train.precision = "{precision}" in {run.recipe} changes it back'
            for line in differences(precision, now["hardware"]["precision"], "it")
        ],
        "data": list(differences(_picked(record, DATA), _picked(now, DATA))),
    }
    refused = {name: lines for name, lines in found.items() if lines and name not in allow}
    if refused:
        listed = "\n".join(f"  {name}: {line}" for name, lines in refused.items() for line in lines)
        flags = " ".join(f"--allow {name}" for name in refused)
        raise RunError(
            f"{run.name} cannot go on, something has changed since it was stopped:\n{listed}\n"
            f"Change it back, or go on all the same, to other figures, with `sslkit resume {run.path} {flags}`."
        )
    network = {f"method.{name}": shape for name, shape in _shapes(assembly.method.state_dict()).items()}
    trained_by = (recipe.get("optimizer", {}).get("use"), assembly.recipe.optimizer.entry.qualified)
    if weights != network or trained_by[0] != trained_by[1]:
        what = "network" if weights != network else "optimizer"
        raise RunError(
            f"{run.name} cannot go on with another {what} than it was begun with: train the changed recipe anew; "
            "--continue-from takes over weights that fit"
        )
    told = (
        *differences(_versions(record), _versions(now)),
        *differences(_picked(before, HARDWARE), _picked(now["hardware"], HARDWARE), "hardware"),
    )
    return Changes(tuple(f"{name}: {line}" for name, lines in found.items() for line in lines), told)


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    """By name; of what is no tensor, as ``get_extra_state`` may give it, only that it is there."""
    return {name: tuple(value.shape) if isinstance(value, Tensor) else None for name, value in state.items()}


def _without(recipe: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The recipe without some keys of its section ``train``."""
    train = recipe.get("train", {})
    return recipe | {"train": {name: value for name, value in train.items() if name not in names}}


def _picked(record: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: record.get(name) for name in names}


def _versions(record: Mapping[str, Any]) -> dict[str, str]:
    """Of every distribution that takes part, and of libraries."""
    distributions = {item["distribution"]: item["version"] for item in record["components"].values()}
    return distributions | dict(record["versions"])


def differences(before: Any, now: Any, where: str = "") -> Iterator[str]:
    """Every place where two trees differ, as ``optimizer.lr was 0.1, is 0.2``."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            inside = f"{where}.{key}" if where else str(key)
            yield from differences(before.get(key, ABSENT), now.get(key, ABSENT), inside)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for place, pair in enumerate(zip(before, now, strict=True)):
            yield from differences(*pair, f"{where}.{place}")
    elif before != now or type(before) is not type(now):
        yield f"{where} was {_shown(before)}, is {_shown(now)}"


ABSENT = object()
"""Stands where a tree has no such key."""


def _shown(value: Any) -> str:
    return "not there" if value is ABSENT else json.dumps(value, default=str)
