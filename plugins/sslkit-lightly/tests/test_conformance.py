"""Conformance tests of the plugin's components."""

from __future__ import annotations

from processes.forked_imports import ForkedImport

from sslkit.testing import HeadTests, LossTests
from sslkit_lightly.byol import Byol
from sslkit_lightly.contrastive import Dcl, Dclw, DirectClr
from sslkit_lightly.dino import Dino, DinoHead
from sslkit_lightly.mmcr import Mmcr
from sslkit_lightly.moco import Moco, MocoV3
from sslkit_lightly.multiview import EmpSsl, FroSsl, LeJepa
from sslkit_lightly.nnclr import Nnclr
from sslkit_lightly.pairwise import BarlowTwins, SimClr, VicReg
from sslkit_lightly.projection_head import ProjectionHead
from sslkit_lightly.simsiam import FastSiam, SimSiam
from sslkit_lightly.swav_head import SwavHead
from sslkit_lightly.swav_loss import SwavLoss
from sslkit_lightly.tico import TiCo
from sslkit_lightly.wmse import WMse


class TestSwavLoss(ForkedImport, LossTests):
    component = SwavLoss
    options = {"queue_size": 16}
    invariances = frozenset({"global views", "classes", "rotation"})


class TestSwavLossWithoutQueue(LossTests):
    component = SwavLoss
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    invariances = frozenset({"images", "global views", "classes", "rotation"})


class TestSimClr(LossTests):
    component = SimClr
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    invariances = frozenset({"images", "global views", "rotation", "scale"})


class TestBarlowTwins(LossTests):
    component = BarlowTwins
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    invariances = frozenset({"images", "global views"})


class TestVicReg(LossTests):
    component = VicReg
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    invariances = frozenset({"images", "global views"})


class TestByol(LossTests):
    component = Byol
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"predictor_dim": 8}
    invariances = frozenset({"images", "global views"})


class TestDino(LossTests):
    component = Dino
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    invariances = frozenset({"images", "global views", "classes", "rotation"})


class TestMoco(LossTests):
    component = Moco
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"queue_size": 16}
    invariances = frozenset({"images", "global views", "scale"})


class TestMocoV3(LossTests):
    component = MocoV3
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"predictor_dim": 8}
    invariances = frozenset({"images", "global views"})


class TestSimSiam(LossTests):
    component = SimSiam
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"predictor_dim": 8}
    invariances = frozenset({"images", "global views"})


class TestFastSiam(LossTests):
    component = FastSiam
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"predictor_dim": 8}
    invariances = frozenset({"images", "global views"})


class TestNnclr(LossTests):
    component = Nnclr
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"predictor_dim": 8, "queue_size": 16}
    invariances = frozenset({"images"})


class TestDcl(LossTests):
    component = Dcl
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    invariances = frozenset({"images", "global views", "rotation", "scale"})


class TestDclw(LossTests):
    component = Dclw
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    invariances = frozenset({"images", "global views", "rotation", "scale"})


class TestTiCo(LossTests):
    component = TiCo
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    invariances = frozenset({"images", "global views", "rotation", "scale"})


class TestMmcr(LossTests):
    component = Mmcr
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    invariances = frozenset({"images", "global views", "rotation", "scale"})


class TestEmpSsl(LossTests):
    component = EmpSsl
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    invariances = frozenset({"images", "global views", "rotation", "scale"})


class TestFroSsl(LossTests):
    component = FroSsl
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    invariances = frozenset({"images", "global views", "scale"})


class TestLeJepa(LossTests):
    component = LeJepa
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"sigreg_num_vectors": 32}
    invariances = frozenset({"images", "global views"})


class TestDirectClr(LossTests):
    component = DirectClr
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"loss_dim": 5}
    invariances = frozenset({"images", "global views"})


class TestWMse(LossTests):
    component = WMse
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"w_size": 8}
    invariances = frozenset({"images", "global views", "scale"})


class TestSwavHead(HeadTests):
    component = SwavHead
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"prototypes": [7, 3], "hidden_dim": 16, "freeze_prototypes": "1 steps"}


class TestProjectionHead(HeadTests):
    component = ProjectionHead
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"hidden_dim": 16, "embedding_dim": 8}


class TestDinoHead(HeadTests):
    component = DinoHead
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"classifiers": [7, 3], "hidden_dim": 16, "embedding_dim": 8}
