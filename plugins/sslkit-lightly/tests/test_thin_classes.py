"""lightly's own NT-Xent and VICReg, as they are, keep what is promised of losses behind a thin class."""

from __future__ import annotations

from lightly.loss import NTXentLoss, VICRegLoss
from torch import Tensor

import sslkit
from sslkit.testing import LossTests
from sslkit_lightly.pairwise import PairLoss


class ThinNTXent(PairLoss):
    """lightly's NT-Xent."""

    syncs_device = True  # lightly picks elements by a mask
    Options = sslkit.Options

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        return NTXentLoss(temperature=0.5)(first, second)


class ThinVICReg(PairLoss):
    """lightly's VICReg."""

    syncs_device = True  # lightly picks elements by a mask
    Options = sslkit.Options

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        return VICRegLoss()(first, second)


class TestThinNTXent(LossTests):
    component = ThinNTXent
    test_import_is_quiet_and_quick = None  # a test's module cannot be imported elsewhere
    invariances = frozenset({"images", "global views", "rotation", "scale"})


class TestThinVICReg(LossTests):
    component = ThinVICReg
    test_import_is_quiet_and_quick = None  # a test's module cannot be imported elsewhere
    invariances = frozenset({"images", "global views"})
