"""Build one component of a recipe, with errors that name a line of the recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from sslkit.contracts.dataset import Dataset
from sslkit.device.out_of_memory import first_line, is_out_of_memory
from sslkit.errors import BrokenComponentError, InputError, OptionError, RecipeError, SslkitError
from sslkit.recipe.recipe import ComponentSpec, DataRecipe

Built = TypeVar("Built")


def build_component(recipe: DataRecipe, spec: ComponentSpec, kind: type[Built], *arguments: Any) -> Built:
    """Build one component.

    Args:
        recipe: the recipe that names the component; errors refer to its lines.
        spec: the component and its options.
        kind: base class of the component's kind.
        arguments: arguments of the component's constructor after the options.

    Raises:
        RecipeError: the component rejects an option or another argument, or needs more memory than is available.
        BrokenComponentError: the component's constructor raises any other error, or does not call the constructor of
            its base class.
    """
    constructor: Callable[..., Any] = spec.component
    try:
        built = constructor(spec.options, *arguments)
    except OptionError as error:
        raise recipe.option_error(spec, error) from error
    except SslkitError as error:
        if type(error) is InputError:
            raise RecipeError([recipe.document.problem(spec.path, str(error))]) from error
        raise
    except Exception as error:
        message = (
            f"{spec.entry}: its constructor raises {type(error).__name__}: {first_line(error)}; "
            f"check its options, or report this to the authors of {spec.entry.distribution}"
        )
        problem = recipe.document.problem(spec.path, message)
        if is_out_of_memory(error) or isinstance(error, OverflowError):
            raise RecipeError([problem]) from error  # valid options whose sizes together are too large
        raise BrokenComponentError(str(problem)) from error
    assert isinstance(built, kind)
    if isinstance(built, nn.Module) and "_modules" not in vars(built):
        message = (
            f"{spec.entry}: its constructor must call super().__init__(options, context) first; "
            f"report this to the authors of {spec.entry.distribution}"
        )
        raise BrokenComponentError(str(recipe.document.problem(spec.path, message)))
    return built


def build_dataset(recipe: DataRecipe) -> Dataset:
    """Build the data set without reading any image."""
    return build_component(recipe, recipe.data, Dataset)
