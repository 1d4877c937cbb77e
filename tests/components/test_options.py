"""The base class of all options."""

from __future__ import annotations

import pytest
from pydantic import Field, ValidationError

from sslkit.contracts.options import Options


def test_an_integer_default_of_a_number_is_stored_as_a_float() -> None:
    class Margin(Options):
        margin: float = 1

    assert type(Margin().margin) is float
    assert type(Margin.model_validate({"margin": 1}).margin) is float


def test_a_default_that_the_field_refuses_is_an_error_at_once() -> None:
    class Temperature(Options):
        temperature: float = Field(default=0, gt=0)

    with pytest.raises(ValidationError, match="greater than 0"):
        Temperature()
