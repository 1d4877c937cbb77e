"""Conformance tests of the methods that mask patches."""

from __future__ import annotations

from processes.forked_imports import ForkedImport

from sslkit.testing import MethodTests
from sslkit_lightly.masked.distillation import DinoV2, Ibot
from sslkit_lightly.masked.ijepa import IJepa
from sslkit_lightly.masked.msn import Msn, Pmsn
from sslkit_lightly.masked.pixels import Mae, SimMim


class TestMae(ForkedImport, MethodTests):
    component = Mae
    options = {"decoder_dim": 8, "decoder_depth": 1, "decoder_heads": 2}


class TestSimMim(MethodTests):
    component = SimMim
    test_import_is_fast_and_has_no_side_effects = None  # tested above


class TestIJepa(MethodTests):
    component = IJepa
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"predictor_dim": 8, "predictor_depth": 1, "predictor_heads": 2, "momentum": 0.9}


class TestIbot(MethodTests):
    component = Ibot
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"momentum": 0.9}


class TestDinoV2(MethodTests):
    component = DinoV2
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"momentum": 0.9}


class TestMsn(MethodTests):
    component = Msn
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"momentum": 0.9}


class TestPmsn(MethodTests):
    component = Pmsn
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"momentum": 0.9}
