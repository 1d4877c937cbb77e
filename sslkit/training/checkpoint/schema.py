"""What a checkpoint holds, in every part that a resume reads: one that lacks a part would go on as another training."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor
from typing_extensions import TypedDict

from sslkit.training.checkpoint.random_state import random_state, restore_random_state
from sslkit.training.monitor.collapse_detector import CollapseDetector

Count = Annotated[int, Field(ge=0)]
Table = dict[str, Any]


def _version(text: str) -> str:
    try:
        Version(text)
    except InvalidVersion as error:
        raise ValueError(f"{text!r} is no version") from error
    return text


def _watch(state: Table) -> Table:
    try:
        CollapseDetector().load_state_dict(state)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it does not fit ({error!r})") from error
    return state


def _state(state: Table) -> Table:
    for name, value in state.items():
        # What a module gives by get_extra_state may be any plain value.
        if not isinstance(value, Tensor) and not name.endswith("_extra_state"):
            raise ValueError(f"{name} is no tensor")
    return state


def _random(state: Any) -> Any:
    before = random_state()
    try:
        restore_random_state({**state, "cuda": [], "mps": []})  # no device is touched before it is known which is ours
    except (ValueError, TypeError, AttributeError, RuntimeError, OverflowError) as error:
        raise ValueError(f"it does not fit ({error!r})") from error
    finally:
        restore_random_state(before)
    return state


class _Random(TypedDict):
    torch: Tensor
    cuda: list[Tensor]
    mps: NotRequired[list[Tensor]]
    python: list[Any]
    numpy: list[Any]


class _Process(TypedDict):
    pending: Tensor
    epoch_loss: Tensor
    classifier_loss: dict[str, Tensor]
    random: Annotated[_Random, AfterValidator(_random)]


class _Bookkeeping(TypedDict):
    names: list[str]
    last_classifier_loss: dict[str, Tensor]
    last_epoch_loss: float
    best_loss: float
    best_step: Count
    watch: Annotated[Table, AfterValidator(_watch)]
    history_size: Count
    processes: Annotated[list[_Process], Field(min_length=1)]


class _Callbacks(TypedDict):
    Bookkeeping: _Bookkeeping


class _Taken(TypedDict):
    completed: Count


class _Steps(TypedDict):
    total: _Taken
    current: _Taken


class _Step(TypedDict):
    step: _Steps


class _Optimizing(TypedDict):
    optimizer: _Step


_FitLoop = TypedDict(
    "_FitLoop",
    {
        "state_dict": Table,
        "epoch_progress": Table,
        "epoch_loop.state_dict": Table,
        "epoch_loop.batch_progress": Table,
        "epoch_loop.scheduler_progress": Table,
        "epoch_loop.automatic_optimization.state_dict": Table,
        "epoch_loop.automatic_optimization.optim_progress": _Optimizing,
    },
)


class _Loops(TypedDict):
    fit_loop: _FitLoop


class _Group(TypedDict):
    params: list[int]


class _Optimizer(TypedDict):
    state: dict[Any, Any]
    param_groups: Annotated[list[_Group], Field(min_length=1)]


Content = TypedDict(
    "Content",
    {
        "state_dict": Annotated[dict[str, Any], AfterValidator(_state)],
        "optimizer_states": Annotated[list[_Optimizer], Field(min_length=1, max_length=1)],
        "lr_schedulers": Annotated[list[Table], Field(min_length=1, max_length=1)],
        "callbacks": _Callbacks,
        "loops": _Loops,
        "epoch": Count,
        "global_step": Annotated[int, Field(ge=1)],
        "pytorch-lightning_version": Annotated[str, AfterValidator(_version)],
        "recipe": str,
        "processes": Annotated[int, Field(ge=1)],
    },
)
# What pydantic looks for; a TypedDict does not declare it.
Content.__pydantic_config__ = ConfigDict(strict=True, arbitrary_types_allowed=True)  # type: ignore[attr-defined]


def wrong(checkpoint: Any) -> str:
    """What is missing or cannot be in a checkpoint, in words; empty where a resume finds all that it reads."""
    try:
        TypeAdapter(Content).validate_python(checkpoint)
    except ValidationError as error:
        faults = [(".".join(map(str, fault["loc"])), fault) for fault in error.errors()]
        missing = [place for place, fault in faults if fault["type"] == "missing"]
        if missing:
            return f"it lacks {', '.join(missing)}"
        place, fault = faults[0]
        return f"{place or 'the whole'}: {fault['msg']}"
    step = checkpoint["global_step"]
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.automatic_optimization.optim_progress"]
    taken = progress["optimizer"]["step"]["total"]["completed"]
    if taken != step:
        return f"global_step: it is {step}, but {taken} steps were taken"
    held = len(checkpoint["callbacks"]["Bookkeeping"]["processes"])
    if held != checkpoint["processes"]:
        return f"processes: there were {checkpoint['processes']}, but it holds the states of {held}"
    return ""
