"""Options: what a component reads from its table of the recipe."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Base of every component's ``Options``.

    Unknown keys are refused, values are not coerced (an integer is accepted where a float is asked for, a string
    never is), and the validated object cannot be changed.  Describe each field with ``pydantic.Field(...,
    description=...)``: the description is shown to users.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class NoOptions(Options):
    """For a component that has nothing to set."""
