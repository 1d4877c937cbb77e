"""Detect changes of recipe, data and environment since a run was stopped, so that ``resume`` can refuse them."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from torch import Tensor

from sslkit.assembly.assemble import Assembly
from sslkit.assembly.position import Position
from sslkit.errors import RunError
from sslkit.recipe.recipe import Recipe
from sslkit.runs.provenance_file import read_provenance
from sslkit.runs.run import Run
from sslkit.training.provenance import DATA_KEYS

Change = Literal["recipe", "data", "processes", "precision"]
"""Kinds of changes that a user may allow with ``--allow``."""

HARDWARE = ("device", "name", "threads", "channels_last")
"""Keys of hardware facts that may change rounding errors; the precision is compared separately."""

_ABSENT = object()
"""Value for a key that only one of two compared dictionaries has."""


def refuse_changes(
    run: Run,
    checkpoint: Mapping[str, Any],
    assembly: Assembly,
    now: Mapping[str, Any],
    allow: Collection[Change],
) -> tuple[list[str], list[str]]:
    """Refuse to resume a run if its recipe, data, processes or precision have changed, unless the user allows it.

    Args:
        run: the run to resume.
        checkpoint: content of the checkpoint to resume from.
        assembly: the assembled recipe.
        now: provenance of ``assembly``.
        allow: kinds of changes that the user allows.

    Returns:
        Two lists with one sentence for each change: the changes that the user allowed; and changes that need no
        permission, such as library versions, but can change rounding errors.

    Raises:
        RunError: there is a change that the user does not allow, or the checkpoint does not fit the network.
    """
    record = read_provenance(run)
    hardware = record["hardware"]
    try:
        recipe, processes = tomllib.loads(checkpoint["recipe"]), int(checkpoint["processes"])
        weights = _shapes(checkpoint["state_dict"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"the checkpoints of {run.name} are not sslkit's, or are damaged: {error!r}") from error
    # These may be "auto" in the recipe, so their resolved values are compared below.
    separate = ("devices", "nodes", "precision")
    recipes = (_without(recipe, separate), _without(assembly.recipe.resolved(), separate))
    precision = hardware["precision"]
    changed: dict[Change, list[str]] = {
        "recipe": list(_differences(*recipes)),
        "processes": list(_differences({"count": processes}, {"count": now["processes"]["count"]})),
        "precision": [
            f'{line}; train.precision = "{precision}" in {run.recipe} changes it back'
            for line in _differences(precision, now["hardware"]["precision"], "it")
        ],
        "data": list(_differences(_subset(record, DATA_KEYS), _subset(now, DATA_KEYS))),
    }
    refused = {kind: lines for kind, lines in changed.items() if lines and kind not in allow}
    if refused:
        listed = "\n".join(f"  {kind}: {line}" for kind, lines in refused.items() for line in lines)
        flags = " ".join(f"--allow {kind}" for kind in refused)
        raise RunError(
            f"{run.name} cannot be resumed, because this has changed since it was stopped:\n{listed}\n"
            f"Change it back, or accept other results with `sslkit resume {run.path} {flags}`."
        )
    network = {f"method.{name}": shape for name, shape in _shapes(assembly.method.state_dict()).items()}
    optimizers = (recipe.get("optimizer", {}).get("use"), assembly.recipe.optimizer.entry.qualified)
    if weights != network or optimizers[0] != optimizers[1]:
        what = f"network, which differs in {_other_shapes(weights, network)}" if weights != network else "optimizer"
        raise RunError(
            f"{run.name} cannot be resumed with another {what}: train the changed recipe as a new run, "
            "with --continue-from to start from weights that fit"
        )
    notes = [
        *_differences(_versions(record), _versions(now)),
        *_differences(_subset(hardware, HARDWARE), _subset(now["hardware"], HARDWARE), "hardware"),
    ]
    return [f"{kind}: {line}" for kind, lines in changed.items() for line in lines], notes


def refuse_end_before(saved: Position, run: Run, recipe: Recipe) -> None:
    """Check that the recipe has at least as many epochs as have already been trained.

    Raises:
        RunError: the recipe has fewer epochs.
    """
    if recipe.train.epochs < saved.epoch:
        raise RunError(
            f"{run.name} cannot be resumed with train.epochs = {recipe.train.epochs}: {saved.epoch:.2f} epochs are "
            f"trained already; set train.epochs in {run.recipe} to at least {math.ceil(saved.epoch)}"
        )


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping from name to tensor shape; the value is None for entries that are not tensors."""
    return {name: tuple(value.shape) if isinstance(value, Tensor) else None for name, value in state.items()}


def _other_shapes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the names of up to three weights that were added or removed, or have a different shape."""
    names = [name for name in {**before, **now} if before.get(name, _ABSENT) != now.get(name, _ABSENT)]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(name.removeprefix("method.") for name in names[:3]) + more


def _without(recipe: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return the recipe without the keys ``names`` of its section ``[train]``."""
    train = recipe.get("train", {})
    return recipe | {"train": {name: value for name, value in train.items() if name not in names}}


def _subset(record: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: record.get(name) for name in names}


def _versions(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions in a provenance record: of libraries, and of distributions that provide components."""
    distributions = {item["distribution"]: item["version"] for item in record["components"].values()}
    return distributions | dict(record["versions"])


def _differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """Yield each difference between two nested values, such as ``optimizer.lr was 0.1, is 0.2``."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            inner = f"{path}.{key}" if path else str(key)
            yield from _differences(before.get(key, _ABSENT), now.get(key, _ABSENT), inner)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, pair in enumerate(zip(before, now, strict=True)):
            yield from _differences(*pair, f"{path}.{index}")
    elif before != now or type(before) is not type(now):
        yield f"{path} was {_format(before)}, is {_format(now)}"


def _format(value: Any) -> str:
    return "absent" if value is _ABSENT else json.dumps(value, default=str)
