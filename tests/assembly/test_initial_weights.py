"""Weights that a backbone starts from: sources, runs, files, and files that do not fit or are malicious."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from malicious_files import MARKER, PAYLOAD, CallWhenUnpickled, torch_archive
from safetensors.torch import load_file, save_file
from torch import Tensor

from sslkit.assembly.assemble import Assembly, assemble
from sslkit.contracts.preprocessing import Preprocessing
from sslkit.errors import InputError, RecipeError
from sslkit.export.export import export
from sslkit.recipe.load import load_recipe
from sslkit.runs.run import Run
from sslkit_backbones.convnet import ConvNet

State = dict[str, Tensor]
RESNET = ["backbone={use='resnet18', stem='imagenet'}", "data.size=32", "views={use='flip'}"]
PREPARED = Preprocessing(12, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic")
"""Preprocessing of the weights "halves"."""


def start(tiny: Path, weights: str | Path, *settings: str) -> Assembly:
    return assemble(load_recipe(tiny, [*settings, f"backbone.weights='{weights}'"]))


def state_of(assembly: Assembly) -> State:
    return {name: value.clone() for name, value in assembly.method.backbone.state_dict().items()}


def assert_equal(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert state.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(state[name], expected[name])] == []


@pytest.fixture
def offering(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let convnet offer the weights "halves" for RGB images, and return the list of sources that were loaded."""
    loaded: list[str] = []

    def load(self: ConvNet, source: str) -> str:
        loaded.append(source)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.fill_(0.5)
        return "halves of a test (no licence)"

    monkeypatch.setattr(ConvNet, "weight_sources", classmethod(lambda cls, options: {"halves": PREPARED}))
    monkeypatch.setattr(ConvNet, "load_weights_from", load)
    return loaded


def test_without_weights_the_backbone_is_random_and_images_have_their_own_statistics(tiny: Path) -> None:
    assembly = start(tiny, "none")
    assert_equal(state_of(assembly), state_of(assemble(load_recipe(tiny))))
    assert assembly.context.channels == 1
    assert assembly.context.image_size == 8
    assert not any("weights" in note for note in assembly.notes)


def test_a_source_gives_weights_and_preprocessing(tiny: Path, offering: list[str]) -> None:
    assembly = start(tiny, "halves")
    assert offering == ["halves"]
    assert all(bool((parameter == 0.5).all()) for parameter in assembly.method.backbone.parameters())
    assert assembly.views.preprocessing == PREPARED
    assert assembly.context.channels == 3
    assert "weights: halves of a test (no licence)" in assembly.notes


def test_an_unknown_source_names_those_that_the_backbone_offers(tiny: Path, offering: list[str]) -> None:
    with pytest.raises(RecipeError, match=r"'convnet' has no weights 'half'.*'none', 'halves'.*run:NAME.*\.pth"):
        start(tiny, "half")
    line = tiny.read_text().splitlines().index('use = "convnet"') + 1
    tiny.write_text(tiny.read_text().replace('"convnet"', '"convnet"\nweights = "imagenet"'))
    with pytest.raises(RecipeError, match=rf":{line + 1}: backbone\.weights: 'convnet' has no weights 'imagenet'"):
        assemble(load_recipe(tiny))


def test_a_source_that_cannot_be_loaded_is_an_error_of_the_recipe(
    tiny: Path, offering: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: ConvNet, source: str) -> str:
        raise InputError("the hub is closed")

    monkeypatch.setattr(ConvNet, "load_weights_from", fail)
    with pytest.raises(RecipeError, match=r"backbone\.weights: the hub is closed"):
        start(tiny, "halves")


@pytest.mark.parametrize("source", ["run", "file", "export"])
def test_weights_and_preprocessing_of_a_run(tiny: Path, finished_run: Path, tmp_path: Path, source: str) -> None:
    run = Run(finished_run)
    names = {"run": f"run:{finished_run}", "file": str(run.backbone), "export": str(tmp_path / "exported.safetensors")}
    if source == "export":
        export(run, "safetensors", tmp_path / "exported.safetensors")
    assembly = start(tiny, names[source], "data.size=16")
    trained = load_file(run.backbone)
    assert_equal(state_of(assembly), trained)
    assert not torch.equal(trained["layers.0.0.weight"], state_of(assemble(load_recipe(tiny)))["layers.0.0.weight"])
    assert assembly.images.shape == (1, 16, 16)
    assert assembly.context.image_size == assembly.views.size == 8  # of the run's images


def test_a_missing_run_is_an_error_of_the_recipe(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"backbone\.weights: .*absent"):
        start(tiny, f"run:{tmp_path}/absent")


def torchvision_state(**changes: Any) -> State:
    torch.manual_seed(5)
    return dict(torchvision.models.resnet18(weights=None).state_dict()) | changes


def without_counters(state: State) -> State:
    """Return a state without BatchNorm's counters, as torchvision distributes its weights."""
    return {name: value for name, value in state.items() if "num_batches_tracked" not in name}


FORMS: dict[str, tuple[str, Callable[[State], Any]]] = {
    "safetensors": ("w.safetensors", lambda state: state),
    "pth": ("w.pth", lambda state: state),
    "nested": ("w.pt", lambda state: {"epoch": 3, "state_dict": state}),
    "data parallel": ("w.pth", lambda state: {"model": {f"module.{name}": value for name, value in state.items()}}),
    "without counters": ("w.pth", without_counters),
    "safetensors without counters": ("w.safetensors", without_counters),
}
"""File name and content of the ways in which weights are stored."""


@pytest.mark.parametrize("form", FORMS)
def test_files_with_torchvisions_names(tiny: Path, tmp_path: Path, form: str, rgb: list[str]) -> None:
    state = torchvision_state()
    name, change = FORMS[form]
    path = tmp_path / name
    (save_file if path.suffix == ".safetensors" else torch.save)(change(state), path)
    assembly = start(tiny, path, *RESNET, *rgb)
    assert_equal(state_of(assembly), {name: value for name, value in state.items() if not name.startswith("fc.")})
    assert f"weights: {path}; not used: fc.bias, fc.weight" in assembly.notes


RGB = """
import torch, sslkit
from sslkit.data.store import TensorStore
class Rgb(sslkit.Dataset):
    "Random RGB images."
    api = 2
    splits = ("train",)
    def load(self, split):
        images = torch.randint(0, 256, (64, 3, 32, 32), generator=torch.Generator().manual_seed(0))
        return sslkit.Split(TensorStore(images.to(torch.uint8)), None)
"""


@pytest.fixture
def rgb(install: Any) -> list[str]:
    """Settings with a data set of random RGB images."""
    install("rgb", "[sslkit.datasets]\nrgb = rgb_images:Rgb\n", rgb_images=RGB)
    return ["data={use='rgb'}", "train.batch_size=32"]


def without(state: State, name: str) -> State:
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: without(state, "layer1.0.conv1.weight"), r"lacks 1 of 120 tensors, such as 'layer1\.0\.conv1"),
        (
            lambda state: state | {"extra.weight": torch.ones(1)},
            r"1 tensors that the backbone does not.*'extra\.weight",
        ),
        (lambda state: state | {"bn1.weight": torch.ones(3)}, r"'bn1\.weight' has the shape \[3\], not \[64\]"),
        (lambda state: state | {"epoch": 7}, "not a mapping from names to tensors"),
        (lambda state: list(state.values()), "not a mapping from names to tensors"),
        (lambda state: {}, "lacks 100 of 120 tensors"),
    ],
)
def test_files_that_do_not_fit(
    tiny: Path, tmp_path: Path, rgb: list[str], change: Callable[[State], Any], message: str
) -> None:
    torch.save(change(torchvision_state()), tmp_path / "w.pth")
    with pytest.raises(RecipeError, match=rf"backbone\.weights: .*w\.pth.*{message}"):
        start(tiny, tmp_path / "w.pth", *RESNET, *rgb)


def malicious_pickle() -> bytes:
    return pickle.dumps(CallWhenUnpickled(eval, PAYLOAD))


BROKEN = {
    "empty.pth": b"",
    "text.pth": b"no weights\n" * 30,
    "cut.pth": torch_archive(pickle.dumps({}))[:-40],
    "cut.safetensors": b"\xff" * 40,
    "empty.safetensors": b"",
    "malicious.pth": torch_archive(malicious_pickle()),
    "old-malicious.pth": malicious_pickle(),
    "odd.pt": torch_archive(b"\x80\x02}q\x00(X"),
    "unbalanced.pth": torch_archive(b"\x80\x02."),
}


@pytest.mark.parametrize("name", BROKEN)
def test_damaged_and_malicious_files(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(BROKEN[name])
    with pytest.raises(RecipeError, match=rf"backbone\.weights: .*{name}.* cannot be read: ."):
        start(tiny, name)
    assert not (tmp_path / MARKER).exists()


def test_a_missing_file(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"backbone\.weights: there is no file .*absent\.pth"):
        start(tiny, tmp_path / "absent.pth")
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(RecipeError, match=r"backbone\.weights: there is no file .*folder\.pth"):
        start(tiny, tmp_path / "folder.pth")
