from __future__ import annotations

import pytest
import torch

from sslkit.device.hardware import choose
from sslkit.errors import InputError


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """A machine without accelerator, whose processor can do what the test says."""
    found: dict[str, object] = {}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    return found


@pytest.mark.parametrize("capability", ["avx512_bf16", "amx_bf16"])
def test_auto_takes_bfloat16_where_the_processor_has_it(processor: dict[str, object], capability: str) -> None:
    processor[capability] = True
    chosen = choose("auto", "auto")
    assert (chosen.device, chosen.precision, chosen.channels_last) == ("cpu", "bfloat16", True)
    assert chosen.reason == "this processor computes in bfloat16"


def test_auto_takes_float32_where_bfloat16_would_be_emulated(processor: dict[str, object]) -> None:
    chosen = choose("auto", "auto")
    assert (chosen.precision, chosen.channels_last) == ("float32", True)
    assert chosen.reason == "this processor has no bfloat16 arithmetic, emulating it would be slower"


def test_what_the_recipe_says_counts(processor: dict[str, object]) -> None:
    assert choose("cpu", "bfloat16").precision == "bfloat16"
    processor["avx512_bf16"] = True
    chosen = choose("cpu", "float32")
    assert (chosen.precision, chosen.reason) == ("float32", "as the recipe says")


@pytest.mark.parametrize(("native", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_a_graphics_card_is_taken_first(monkeypatch: pytest.MonkeyPatch, native: bool, precision: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Card 9")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native or including_emulation)
    chosen = choose("auto", "auto")
    assert (chosen.device, chosen.precision, chosen.channels_last) == ("cuda", precision, True)
    assert chosen.reason.startswith("Card 9 ")


def test_a_device_that_is_not_there_is_refused(processor: dict[str, object]) -> None:
    with pytest.raises(InputError) as error:
        choose("mps", "auto")
    assert str(error.value) == 'device "mps": there is none here; use cpu or "auto"'
