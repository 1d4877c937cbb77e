"""Conformance tests of the plugin's losses."""

from __future__ import annotations

from processes.forked_imports import ForkedImport

from sslkit.testing import LossTests
from sslkit_discovery.offline_clustering.deepcluster_v2 import DeepClusterV2
from sslkit_discovery.offline_clustering.sela import SeLa
from sslkit_discovery.ruc import Ruc
from sslkit_discovery.scan import Scan
from sslkit_discovery.secu import SeCu
from sslkit_discovery.self_label import SelfLabel
from sslkit_discovery.temi import Temi


class TestScan(ForkedImport, LossTests):
    component = Scan
    invariances = frozenset({"images", "global views", "classes", "rotation"})


class TestTemi(LossTests):
    component = Temi
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    invariances = frozenset({"images", "global views", "classes", "rotation"})


class TestSeCu(LossTests):
    component = SeCu
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    invariances = frozenset({"images", "global views", "classes", "rotation"})


class TestSelfLabel(LossTests):
    component = SelfLabel
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"threshold": 0.0}
    invariances = frozenset({"images", "classes", "rotation"})


class TestRuc(LossTests):
    component = Ruc
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"selection": "confidence", "threshold": 0.0, "mixup": 0.0}  # Mixup mixes each image with the next one
    invariances = frozenset({"images", "rotation"})


class TestDeepClusterV2(LossTests):
    component = DeepClusterV2
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"prototypes": [5, 4, 3]}
    invariances = frozenset({"images", "scale"})


class TestSeLa(LossTests):
    component = SeLa
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"assignments": 2, "sinkhorn_iterations": 5}
    invariances = frozenset({"images", "classes"})
