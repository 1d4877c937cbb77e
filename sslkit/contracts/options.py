"""Base class of the options that a component reads from its table in the recipe."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Base class of the ``Options`` of components: a strict and immutable pydantic model.

    Write a docstring below each field. ``sslkit plugins info`` prints these docstrings::

        class Options(sslkit.Options):
            temperature: float = Field(0.5, gt=0)
            "Temperature of the softmax over similarities; 0.1 to 0.5 is usual."

    Validation is strict: unknown keys, NaN, infinity, and strings instead of numbers are errors. An integer is accepted
    as a float. Default values are validated like the values in a recipe. A validated object is immutable.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )


class NoOptions(Options):
    """Options of a component without options."""
