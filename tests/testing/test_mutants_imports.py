"""Mutants of all kinds: the import test reports each side effect of importing a component's module."""

from __future__ import annotations

from pathlib import Path

import pytest

import sslkit
from sslkit.testing import ComponentTests


class LossInNoisyModule(sslkit.Loss):
    """Loss that claims to be defined in the module under test."""

    api = 1
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
"""Part of the message for each source of the module."""


@pytest.mark.parametrize("source", MESSAGES)
def test_a_side_effect_of_an_import_is_reported(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "noisy_module.py").write_text(source + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    kit = type("Kit", (ComponentTests,), {"component": LossInNoisyModule, "import_seconds": 1.0})
    monkeypatch.setattr("inspect.getsourcefile", lambda _: str(tmp_path / "noisy_module.py"))
    with pytest.raises(AssertionError) as error:
        kit().test_import_is_fast_and_has_no_side_effects()
    assert MESSAGES[source] in str(error.value)
