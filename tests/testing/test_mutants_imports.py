"""Mutants of all kinds: the import test reports each side effect of importing a component's module."""

from __future__ import annotations

from pathlib import Path

import pytest
from processes.forked_imports import run_python

import sslkit
from sslkit.testing import ComponentTests


class LossInNoisyModule(sslkit.Loss):
    """Loss that claims to be defined in the module under test."""

    api = 2
    __module__ = "noisy_module"

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        raise NotImplementedError


MESSAGES = {
    "import torch; torch.rand(1)": "changes torch's random state",
    "import random; random.seed(1)": "changes Python's random state",
    "import os; os.environ['SOMETHING'] = 'else'": "changes os.environ",
    "print('hello')": "prints 'hello'",
    "import sys; sys.exit(3)": "fails: exit code 3",
    "import time; time.sleep(1.5)": "more than 1: import inside functions",
    "raise RuntimeError('no licence')": "fails: RuntimeError: no licence",
}
"""Mapping from source code of a module to a part of the expected message."""


@pytest.fixture(autouse=True)
def forked_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", run_python)


LIBRARY = """
import os, random, torch
random.seed(3)
torch.set_default_dtype(torch.float64)
os.environ["SOMETHING"] = "else"
"""
"""Source code of a library that changes global state when it is imported, as rich does."""


@pytest.mark.parametrize("own", ["", "import random; random.seed(1)", "import os; os.environ['SOMETHING'] = 'else'"])
def test_state_that_an_imported_library_changes_is_not_reported(
    own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "noisy_library.py").write_text(LIBRARY)
    (tmp_path / "noisy_module.py").write_text(f"import noisy_library\nimport sklearn.metrics\n{own}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    kit = type("Kit", (ComponentTests,), {"component": LossInNoisyModule, "import_seconds": 100.0})
    monkeypatch.setattr("inspect.getsourcefile", lambda _: str(tmp_path / "noisy_module.py"))
    if not own:
        kit().test_import_is_fast_and_has_no_side_effects()
        return
    with pytest.raises(AssertionError, match=f"changes {'os.environ' if 'os' in own else 'Python'}"):
        kit().test_import_is_fast_and_has_no_side_effects()


@pytest.mark.parametrize("source", MESSAGES)
def test_a_side_effect_of_an_import_is_reported(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "noisy_module.py").write_text(source + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    kit = type("Kit", (ComponentTests,), {"component": LossInNoisyModule, "import_seconds": 1.0})
    monkeypatch.setattr("inspect.getsourcefile", lambda _: str(tmp_path / "noisy_module.py"))
    with pytest.raises(AssertionError) as error:
        kit().test_import_is_fast_and_has_no_side_effects()
    assert MESSAGES[source] in str(error.value)
