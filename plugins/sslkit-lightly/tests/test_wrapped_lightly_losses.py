"""lightly's own NT-Xent and VICReg, wrapped as ``PairwiseLoss``, pass the conformance tests."""

from __future__ import annotations

from lightly.loss import NTXentLoss, VICRegLoss
from torch import Tensor

import sslkit
from sslkit.testing import LossTests
from sslkit_lightly.pairwise import PairwiseLoss


class WrappedNTXent(PairwiseLoss):
    """lightly's NT-Xent."""

    syncs_device = True  # lightly selects elements with a mask
    Options = sslkit.Options

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        return NTXentLoss(temperature=0.5)(first, second)


class WrappedVICReg(PairwiseLoss):
    """lightly's VICReg."""

    syncs_device = True  # lightly selects elements with a mask
    Options = sslkit.Options

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        return VICRegLoss()(first, second)


class TestWrappedNTXent(LossTests):
    component = WrappedNTXent
    test_import_is_fast_and_has_no_side_effects = None  # a test module cannot be imported in another process
    invariances = frozenset({"images", "global views", "rotation", "scale"})


class TestWrappedVICReg(LossTests):
    component = WrappedVICReg
    test_import_is_fast_and_has_no_side_effects = None  # a test module cannot be imported in another process
    invariances = frozenset({"images", "global views"})
