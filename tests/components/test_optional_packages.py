"""Optional packages that are missing or broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslkit.components.optional_packages import import_optional
from sslkit.errors import InputError


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "which is not installed"),
        ("import of_nobody.core", "which is installed, but 'of_nobody', which it needs, is not"),
        ("raise ModuleNotFoundError(name='google.x')", "which is installed, but 'protobuf', which it needs, is not"),
        ("raise ImportError('wrong\\n  ELF class')", "which is installed, but cannot be imported: wrong ELF class"),
    ],
)  # fmt: skip
def test_the_message_says_what_is_missing(
    source: str | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    module = f"optional_{abs(hash(request.node.name))}"
    monkeypatch.syspath_prepend(str(tmp_path))
    if source is not None:
        (tmp_path / f"{module}.py").write_text(source)
    with pytest.raises(InputError) as error:
        import_optional(module, "ONNX", "onnx")
    assert str(error.value) == f"ONNX needs {module}, {reason}; run pip install 'sslkit[onnx]'"


def test_an_installed_package_is_returned() -> None:
    assert import_optional("json", "This", "all").loads("[1]") == [1]
