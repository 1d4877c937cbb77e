"""Importing a component is to have no side effects: each kind of them is told."""

from __future__ import annotations

from pathlib import Path

import pytest

import sslkit
from sslkit.testing import ComponentTests


class Loud(sslkit.Loss):
    """As if it came from a module that is imported anew."""

    api = 1
    __module__ = "noisy_module"

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        raise NotImplementedError


MODULES = {
    "import torch; torch.rand(1)": "changes torch's random state",
    "import random; random.seed(1)": "changes Python's random state",
    "import os; os.environ['SOMETHING'] = 'else'": "changes os.environ",
    "print('hello')": "prints 'hello'",
    "import sys; sys.exit(3)": "fails: it exits with 3",
    "import time; time.sleep(1.5)": "more than 1: import inside functions",
    "raise RuntimeError('no licence')": "fails: RuntimeError: no licence",
}


@pytest.mark.parametrize("source", MODULES)
def test_import_with_side_effects_is_told(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "noisy_module.py").write_text(source + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    kit = type("Kit", (ComponentTests,), {"component": Loud, "import_seconds": 1.0})
    monkeypatch.setattr("inspect.getsourcefile", lambda _: str(tmp_path / "noisy_module.py"))
    with pytest.raises(AssertionError) as error:
        kit().test_import_is_quiet_and_quick()
    assert MODULES[source] in str(error.value)
