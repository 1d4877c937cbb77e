"""These components keep what sslkit promises of their kinds."""

from __future__ import annotations

from sslkit.testing import HeadTests, LossTests
from sslkit_selfcls.head import SelfClassifierHead
from sslkit_selfcls.loss import SelfClassifierLoss


class TestLoss(LossTests):
    component = SelfClassifierLoss
    invariances = frozenset({"images", "global views", "classes", "rotation"})


class TestLossWithQueue(LossTests):
    component = SelfClassifierLoss
    test_import_is_quiet_and_quick = None  # as of the one above
    options = {"queue_size": 16}


class TestHead(HeadTests):
    component = SelfClassifierHead
    test_import_is_quiet_and_quick = None  # as of the one above
    options = {"hidden_dims": [16], "classifiers": [7, 3]}
