"""The components of sslkit itself pass the conformance tests."""

# One process imports the modules of all components, in place of one process for each of them.

from __future__ import annotations

import os
from pathlib import Path

from processes.forked_cli import run_script

from sslkit.data.datasets.digits import Digits
from sslkit.evaluation.evaluators.cluster import Cluster
from sslkit.evaluation.evaluators.finetune import Finetune
from sslkit.evaluation.evaluators.knn import Knn
from sslkit.evaluation.evaluators.linear import Linear
from sslkit.evaluation.evaluators.linear_sgd import LinearSgd
from sslkit.methods.joint_embedding import JointEmbedding
from sslkit.methods.momentum_teacher import MomentumTeacher
from sslkit.optimizers.lars import Lars
from sslkit.optimizers.torch_optimizers import AdamW, Sgd
from sslkit.positives.neighbours import Neighbours
from sslkit.positives.views import OwnViews
from sslkit.testing import (
    ComponentTests,
    DatasetTests,
    EvaluatorTests,
    MethodTests,
    OptimizerTests,
    PositivesTests,
    ViewsTests,
)
from sslkit.views.affine import Affine
from sslkit.views.crops import Crops
from sslkit.views.flip import Flip
from sslkit.views.plain import Plain


class TestDigits(DatasetTests):
    component = Digits
    test_import_is_fast_and_has_no_side_effects = None


class TestCrops(ViewsTests):
    component = Crops
    test_import_is_fast_and_has_no_side_effects = None
    options = {"local_crops": 2, "blur_p": 0.5}


class TestAffine(ViewsTests):
    component = Affine
    test_import_is_fast_and_has_no_side_effects = None


class TestFlip(ViewsTests):
    component = Flip
    test_import_is_fast_and_has_no_side_effects = None


class TestPlain(ViewsTests):
    component = Plain
    test_import_is_fast_and_has_no_side_effects = None


class TestOwnViews(PositivesTests):
    component = OwnViews
    test_import_is_fast_and_has_no_side_effects = None


class TestNeighbours(PositivesTests):
    component = Neighbours
    test_import_is_fast_and_has_no_side_effects = None
    options = {"k": 5, "mutual": True, "exclude_similarity": 0.95}


class TestJointEmbedding(MethodTests):
    component = JointEmbedding
    test_import_is_fast_and_has_no_side_effects = None


class TestMomentumTeacher(MethodTests):
    component = MomentumTeacher
    test_import_is_fast_and_has_no_side_effects = None
    options = {"momentum": 0.5}


class TestSgd(OptimizerTests):
    component = Sgd
    test_import_is_fast_and_has_no_side_effects = None


class TestAdamW(OptimizerTests):
    component = AdamW
    test_import_is_fast_and_has_no_side_effects = None


class TestLars(OptimizerTests):
    component = Lars
    test_import_is_fast_and_has_no_side_effects = None
    options = {"trust_coefficient": 0.1}


class TestCluster(EvaluatorTests):
    component = Cluster
    test_import_is_fast_and_has_no_side_effects = None


class TestLinear(EvaluatorTests):
    component = Linear
    test_import_is_fast_and_has_no_side_effects = None


class TestLinearSgd(EvaluatorTests):
    component = LinearSgd
    test_import_is_fast_and_has_no_side_effects = None
    options = {"epochs": 2}


class TestNearest(EvaluatorTests):
    component = Knn
    test_import_is_fast_and_has_no_side_effects = None


class TestFinetune(EvaluatorTests):
    component = Finetune
    test_import_is_fast_and_has_no_side_effects = None
    options = {"epochs": 2, "min_steps": 0}


PROGRAM = """
import importlib, os, random, sys
import numpy, torch
for name in [name for name in sys.modules if name.partition(".")[0] == "sslkit"]:
    del sys.modules[name]  # the fork server has imported it
def state():
    generators = random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    return generators, torch.get_default_dtype(), dict(os.environ)
random.random(), numpy.random.random(), torch.rand(1)  # the same seed again would change nothing
before = state()
for module in sys.argv[1:]:
    importlib.import_module(module)
    assert state() == before, module
"""


def test_the_import_of_a_component_has_no_side_effects(tmp_path: Path) -> None:
    tests = [test for test in globals().values() if isinstance(test, type) and issubclass(test, ComponentTests)]
    modules = {test.component.__module__ for test in tests if hasattr(test, "component")}
    assert len(modules) == 16
    (tmp_path / "program.py").write_text(PROGRAM)
    done = run_script([str(tmp_path / "program.py"), *sorted(modules)], os.environ, tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
