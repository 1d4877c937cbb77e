from __future__ import annotations

import pytest
import torch

from sslkit.device.hardware import choose_hardware
from sslkit.errors import InputError


@pytest.fixture
def cpu_capabilities(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """CPU capabilities that the test can set, on a simulated machine without a GPU."""
    capabilities: dict[str, object] = {"avx2": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    return capabilities


@pytest.mark.parametrize("capability", ["avx512_bf16", "amx_bf16"])
def test_auto_precision_is_bfloat16_where_the_cpu_has_it(cpu_capabilities: dict[str, object], capability: str) -> None:
    cpu_capabilities[capability] = True
    hardware = choose_hardware("auto", "auto")
    assert (hardware.device, hardware.precision, hardware.channels_last) == ("cpu", "bfloat16", True)
    assert hardware.reason == "this CPU computes in bfloat16"


def test_auto_precision_is_float32_where_bfloat16_would_be_emulated(cpu_capabilities: dict[str, object]) -> None:
    hardware = choose_hardware("auto", "auto")
    assert (hardware.precision, hardware.channels_last) == ("float32", True)
    assert hardware.reason == "this CPU has no bfloat16 arithmetic, and emulation would be slower"


def test_auto_precision_is_float32_where_torch_detects_no_capabilities(
    cpu_capabilities: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    hardware = choose_hardware("auto", "auto")
    assert hardware.precision == "float32"
    assert "cannot tell" in hardware.reason


def test_the_recipe_overrides_the_automatic_precision(cpu_capabilities: dict[str, object]) -> None:
    assert choose_hardware("cpu", "bfloat16").precision == "bfloat16"
    cpu_capabilities["avx512_bf16"] = True
    hardware = choose_hardware("cpu", "float32")
    assert (hardware.precision, hardware.reason) == ("float32", "as the recipe says")


@pytest.mark.parametrize(("native", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_a_gpu_is_preferred(monkeypatch: pytest.MonkeyPatch, native: bool, precision: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Card 9")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native or including_emulation)
    hardware = choose_hardware("auto", "auto")
    assert (hardware.device, hardware.precision, hardware.channels_last) == ("cuda", precision, True)
    assert hardware.reason.startswith("Card 9 ")


def test_an_unavailable_device_is_refused(cpu_capabilities: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r'^device "mps" is not available; use cpu or "auto"$'):
        choose_hardware("mps", "auto")
