"""The examples of the reference pages pass the conformance tests of their kind."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from sslkit.components.kinds import KINDS
from sslkit.testing.conformance import kit_for, run_kit

REFERENCE = Path(__file__).parents[2] / "docs" / "plugins" / "reference"


@pytest.mark.parametrize("kind", [kind.singular for kind in KINDS])
def test_example_passes_the_conformance_tests(kind: str, tmp_path: Path) -> None:
    page = (REFERENCE / f"{kind}.md").read_text(encoding="utf-8")
    *examples, kit_example = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = [re.findall(r"^class (\w+)\(sslkit\.", example, re.MULTILINE)[0] for example in examples]
    assert re.findall(r"component = (\w+)", kit_example) == names[:1]
    for name, example in zip(names, examples, strict=True):
        file = tmp_path / f"{name}.py"
        file.write_text(example)
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        results = run_kit(kit_for(kind, getattr(module, name), {}), fast=True)
        assert [result for result in results if result.status != "passed"] == []
