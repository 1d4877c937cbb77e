"""The components of sslkit itself pass the conformance tests."""

# The import test runs once for each kind, because it imports torch in a new process.

from __future__ import annotations

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
from sslkit.testing import DatasetTests, EvaluatorTests, MethodTests, OptimizerTests, PositivesTests, ViewsTests
from sslkit.views.affine import Affine
from sslkit.views.crops import Crops
from sslkit.views.flip import Flip
from sslkit.views.plain import Plain


class TestDigits(DatasetTests):
    component = Digits


class TestCrops(ViewsTests):
    component = Crops
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


class TestNeighbours(PositivesTests):
    component = Neighbours
    test_import_is_fast_and_has_no_side_effects = None
    options = {"k": 5, "mutual": True, "exclude_similarity": 0.95}


class TestJointEmbedding(MethodTests):
    component = JointEmbedding


class TestMomentumTeacher(MethodTests):
    component = MomentumTeacher
    test_import_is_fast_and_has_no_side_effects = None
    options = {"momentum": 0.5}


class TestSgd(OptimizerTests):
    component = Sgd


class TestAdamW(OptimizerTests):
    component = AdamW
    test_import_is_fast_and_has_no_side_effects = None


class TestLars(OptimizerTests):
    component = Lars
    test_import_is_fast_and_has_no_side_effects = None
    options = {"trust_coefficient": 0.1}


class TestCluster(EvaluatorTests):
    component = Cluster


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
