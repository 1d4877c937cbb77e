"""Conformance tests of the plugin's components."""

from __future__ import annotations

from processes.forked_imports import ForkedImport

from sslkit.testing import HeadTests, LossTests
from sslkit_selfcls.head import SelfClassifierHead
from sslkit_selfcls.loss import SelfClassifierLoss


class TestLoss(ForkedImport, LossTests):
    component = SelfClassifierLoss
    invariances = frozenset({"images", "global views", "classes", "rotation"})


class TestLossWithQueue(LossTests):
    component = SelfClassifierLoss
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"queue_size": 16}


class TestHead(HeadTests):
    component = SelfClassifierHead
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"hidden_dims": [16], "classifiers": [7, 3]}
