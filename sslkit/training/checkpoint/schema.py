"""Schema of a checkpoint: the required keys and their types.

Lightning and PyTorch check their own entries when they load a checkpoint. Additional keys are allowed.
"""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor
from typing_extensions import TypedDict

from sslkit.contracts.preprocessing import Interpolation
from sslkit.training.checkpoint.random_state import get_random_state, set_random_state
from sslkit.training.monitor.collapse_detector import CollapseDetector

Count = Annotated[int, Field(ge=0)]
Table = dict[str, Any]


def _check_tensors(state: Table) -> Table:
    for name, value in state.items():
        # get_extra_state of a module may return any plain value.
        if not isinstance(value, Tensor) and not name.endswith("_extra_state"):
            raise ValueError(f"{name} is not a tensor")
    return state


def _check_collapse_detector(state: Table) -> Table:
    try:
        CollapseDetector().load_state_dict(state)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it does not fit ({error!r})") from error
    return state


def _check_random_state(state: Any) -> Any:
    before = get_random_state()
    try:
        # Without GPU states, because the GPU of this process is not chosen yet.
        set_random_state({**state, "cuda": [], "mps": []})
    except (ValueError, TypeError, AttributeError, RuntimeError, OverflowError) as error:
        raise ValueError(f"it does not fit ({error!r})") from error
    finally:
        set_random_state(before)
    return state


class _RandomState(TypedDict):
    torch: Tensor
    cuda: list[Tensor]
    mps: NotRequired[list[Tensor]]
    python: list[Any]
    numpy: list[Any]


class _Process(TypedDict):
    pending: Tensor
    epoch_loss: Tensor
    classifier_loss: dict[str, Tensor]
    random_state: Annotated[_RandomState, AfterValidator(_check_random_state)]


class _CheckpointPolicy(TypedDict):
    epoch_loss: float
    best_loss: float
    best_step: Count


class _RunCallback(TypedDict):
    loss_names: list[str]
    metrics_file_size: Count
    classifier_losses: dict[str, Tensor]
    checkpoint_policy: _CheckpointPolicy
    collapse_detector: Annotated[Table, AfterValidator(_check_collapse_detector)]
    processes: Annotated[list[_Process], Field(min_length=1)]


class _Callbacks(TypedDict):
    RunCallback: _RunCallback


class _Loops(TypedDict):
    fit_loop: Table


class _Optimizer(TypedDict):
    state: dict[Any, Any]
    param_groups: Annotated[list[Table], Field(min_length=1)]


class _Position(TypedDict):
    step: Count
    steps_per_epoch: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)]


class _Preprocessing(TypedDict):
    size: Annotated[int, Field(ge=1)]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Interpolation


class _Positives(TypedDict):
    images: Count
    prepared: Annotated[Table, AfterValidator(_check_tensors)]


class _Checkpoint(TypedDict):
    state_dict: Annotated[Table, AfterValidator(_check_tensors)]
    optimizer_states: Annotated[list[_Optimizer], Field(min_length=1, max_length=1)]
    lr_schedulers: Annotated[list[Table], Field(min_length=1, max_length=1)]
    callbacks: _Callbacks
    loops: _Loops
    global_step: Annotated[int, Field(ge=1)]
    recipe: str
    processes: Annotated[int, Field(ge=1)]
    position: _Position
    preprocessing: _Preprocessing
    positives: _Positives


# pydantic reads this attribute, which TypedDict does not declare.
_Checkpoint.__pydantic_config__ = ConfigDict(strict=True, arbitrary_types_allowed=True)  # type: ignore[attr-defined]


def find_schema_error(checkpoint: Any) -> str:
    """Return which required keys a checkpoint lacks, else its first invalid value, else ``""``."""
    try:
        TypeAdapter(_Checkpoint).validate_python(checkpoint)
    except ValidationError as error:
        errors = [(".".join(map(str, item["loc"])), item) for item in error.errors()]
        missing = [path for path, item in errors if item["type"] == "missing"]
        if missing:
            return f"it lacks {', '.join(missing)}"
        path, item = errors[0]
        return f"{path or 'the content'}: {item['msg']}"
    processes = len(checkpoint["callbacks"]["RunCallback"]["processes"])
    if processes != checkpoint["processes"]:
        return f"processes: it is {checkpoint['processes']}, but there are states of {processes}"
    return ""
