"""Conformance tests of the plugin's components."""

from __future__ import annotations

from sslkit.testing import HeadTests, LossTests
from sslkit_lightly.byol import Byol
from sslkit_lightly.dino import Dino, DinoHead
from sslkit_lightly.pairwise import BarlowTwins, SimClr, VicReg
from sslkit_lightly.projection_head import ProjectionHead
from sslkit_lightly.swav_head import SwavHead
from sslkit_lightly.swav_loss import SwavLoss


class TestSwavLoss(LossTests):
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
