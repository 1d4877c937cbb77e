from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import onnx
import onnxruntime
import pytest
import torch

import sslkit
from sslkit.api import Run
from sslkit.trained.network import TrainedNetwork


def test_features_and_logits_are_the_same_for_any_number_of_images(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "digits.onnx"
    run.export("onnx", out)
    session = onnxruntime.InferenceSession(out.read_bytes())
    network = TrainedNetwork(run, "cpu")
    for count in (1, 2, 7):
        images = torch.randn(count, 1, 8, 8)
        features, logits = session.run(None, {"images": images.numpy()})
        with torch.no_grad():
            expected = network.backbone(images)
            assert network.head is not None
            expected_logits = network.head(expected).logits[0]
        torch.testing.assert_close(torch.from_numpy(features), expected, rtol=0, atol=1e-4)
        torch.testing.assert_close(torch.from_numpy(logits), expected_logits, rtol=0, atol=1e-4)
    onnx.checker.check_model(str(out))
    properties = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert json.loads(properties["sslkit"])["export"]["classes"] == {
        "count": 10,
        "names": None,
        "head": "selfcls-mlp",
        "classifier": 0,
        "temperature": 0.1,
        "merged": list(range(10)),
        "corrected_images": 0,
        "trained_with_corrections": 0,
    }


def test_a_file_with_other_outputs_is_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run.export("onnx", tmp_path / "right.onnx")
    wrong = onnx.load(tmp_path / "right.onnx")
    (bias,) = (weights for weights in wrong.graph.initializer if weights.name == "head.mlp.0.bias")
    bias.raw_data = (numpy.frombuffer(bias.raw_data, numpy.float32) + 1).tobytes()
    program = SimpleNamespace(model=SimpleNamespace(metadata_props={}), model_proto=wrong)
    monkeypatch.setattr(torch.onnx, "export", lambda *arguments, **options: program)
    with pytest.raises(sslkit.InputError, match=r"its logits differ by .* in onnxruntime, more than 0\.0001"):
        run.export("onnx", tmp_path / "wrong.onnx")
    assert not list(tmp_path.glob("wrong.*"))


def test_a_network_that_the_exporter_rejects_is_refused(run: Run, tmp_path: Path, monkeypatch: Any) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("no operator\nfor this")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(
        sslkit.InputError, match=r"^this network cannot be exported to ONNX: RuntimeError: no operator for"
    ):
        run.export("onnx", tmp_path / "out.onnx")
    assert not list(tmp_path.glob("out.*"))
