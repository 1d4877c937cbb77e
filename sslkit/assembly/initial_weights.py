"""Initial weights of the backbone, as named by ``[backbone] weights``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from sslkit.contracts.backbone import Backbone, Counterpart
from sslkit.contracts.preprocessing import Preprocessing
from sslkit.errors import InputError, RecipeError, SslkitError
from sslkit.recipe.recipe import NetworkRecipe
from sslkit.runs.find import find_finished_run, runs_folder
from sslkit.runs.weights_header import KEY
from sslkit.runs.weights_metadata import preprocessing_from_metadata, read_backbone_metadata

FILE_SUFFIXES = (".safetensors", ".pth", ".pt")
"""Suffixes by which a value of ``weights`` is recognised as a file."""

RUN_PREFIX = "run:"
"""Start of a value of ``weights`` that names a run."""

COUNTER = "num_batches_tracked"
"""Name of BatchNorm's counter, which weights from older versions of PyTorch do not have."""

NESTED_KEYS = ("state_dict", "model")
"""Keys under which other programs store the state dict in a .pth file."""


@dataclass(frozen=True)
class InitialWeights:
    """Weights that a backbone starts from.

    Attributes:
        source: the value of ``[backbone] weights`` in the recipe. If the value names a run or a file, ``source`` is the
            path of the weights file.
        preprocessing: preprocessing that the weights were trained with, or None if it is unknown.
    """

    source: str
    preprocessing: Preprocessing | None

    def load(self, backbone: Backbone) -> str:
        """Load the weights into a backbone, and return a description of their origin and the unused tensors.

        Raises:
            InputError: the weights cannot be read or downloaded, or do not fit the backbone.
        """
        if Path(self.source).suffix not in FILE_SUFFIXES:
            return backbone.load_weights_from(self.source)
        ignored = _load_strictly(backbone, Path(self.source))
        return self.source + (f"; not used: {', '.join(ignored)}" if ignored else "")


def find_weights(recipe: NetworkRecipe) -> InitialWeights | None:
    """Return the initial weights that the recipe names, without reading them, or None for random weights.

    Raises:
        RecipeError: the named weights do not exist.
    """
    spec = recipe.backbone
    name = spec.wiring.weights
    if name == "none":
        return None
    try:
        if name.startswith(RUN_PREFIX):
            run = find_finished_run(name.removeprefix(RUN_PREFIX), runs_folder(None))[0]
            return InitialWeights(str(run.backbone), preprocessing_from_metadata(read_backbone_metadata(run.backbone)))
        if Path(name).suffix in FILE_SUFFIXES:
            path = Path(name).expanduser().absolute()
            if not path.is_file():
                raise InputError(f"there is no file {path}")
            return InitialWeights(str(path), _stored_preprocessing(path))
        component: Any = spec.component
        sources: Mapping[str, Preprocessing] = component.weight_sources(spec.options)
        if name in sources:
            return InitialWeights(name, sources[name])
    except SslkitError as error:
        raise RecipeError([recipe.document.problem((*spec.path, "weights"), str(error))]) from error
    offered = ", ".join(repr(source) for source in ("none", *sources))
    message = f"{spec.use!r} has no weights {name!r}"
    hint = f"it offers {offered}; or name a run ('run:NAME') or a file ({', '.join(FILE_SUFFIXES)})"
    raise RecipeError([recipe.document.problem((*spec.path, "weights"), message, hint)])


def _stored_preprocessing(path: Path) -> Preprocessing | None:
    """Return the preprocessing in a weights file that a run or ``sslkit export`` wrote, or None for other files."""
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, framework="pt") as file:
            own = KEY in (file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    return preprocessing_from_metadata(read_backbone_metadata(path)) if own else None


def _load_strictly(backbone: Backbone, path: Path) -> list[str]:
    """Load weights from a file into a backbone, and return the names of the tensors that the backbone does not use.

    The file has the parameter names of the backbone, or those of its torchvision or timm model. All tensors except
    those of a classifier must be used.

    Raises:
        InputError: the tensors do not fit the backbone.
    """
    state = _read(path)
    own = backbone.state_dict()
    layouts: list[tuple[Mapping[str, Tensor], str]] = [(own, "")]
    layouts += [
        (counterpart.state, counterpart.classifier)
        for counterpart in backbone.counterparts().values()
        if isinstance(counterpart, Counterpart)
    ]
    problem = ""
    for expected, classifier in layouts:
        missing = [name for name in expected if name not in state and not name.endswith(COUNTER)]
        extra = [name for name in state if name not in expected]
        wrong = [name for name in expected if name in state and state[name].shape != expected[name].shape]
        classifiers = tuple(f"{name}." for name in {classifier, "fc", "head", "classifier"} if name)
        unknown = [name for name in extra if not name.startswith(classifiers)]
        if not missing and not wrong and not unknown:
            with torch.no_grad():
                for name in expected.keys() & state.keys():
                    expected[name].copy_(state[name])
            return sorted(extra)
        problem = problem or _mismatch(expected, state, missing, wrong, unknown)
    raise InputError(f"{path} does not fit the backbone: {problem}")


def _mismatch(
    expected: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    missing: list[str],
    wrong: list[str],
    unknown: list[str],
) -> str:
    if missing:
        return f"it lacks {len(missing)} of {len(expected)} tensors, such as {missing[0]!r}"
    if wrong:
        name = wrong[0]
        return f"{name!r} has the shape {list(state[name].shape)}, not {list(expected[name].shape)}"
    return f"it has {len(unknown)} tensors that the backbone does not have, such as {unknown[0]!r}"


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an invalid pickle raises exceptions of any kind
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"the weights {path} cannot be read: {reason}") from error
    for key in NESTED_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"the weights {path} are not a mapping from names to tensors")
    return {str(name).removeprefix("module."): value for name, value in content.items()}
