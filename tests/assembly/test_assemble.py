from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sslkit.assembly.assemble import assemble, statistics
from sslkit.data.store import TensorStore
from sslkit.errors import BrokenComponentError, IncompatibleComponentError, RecipeError
from sslkit.recipe.load import load_recipe
from sslkit_selfcls.head import SelfClassifierHead


def refusal(path: Path, *settings: str) -> str:
    with pytest.raises(RecipeError) as error:
        assemble(load_recipe(path, settings))
    return str(error.value).replace(f"{path.parent}/", "").splitlines()[1].strip()


def test_statistics_are_those_of_all_pixels() -> None:
    images = torch.randint(0, 256, (40, 3, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[:, 2] = 128
    mean, std = statistics(TensorStore(images))
    pixels = images.double() / 255
    assert mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist())
    expected = pixels.std(dim=(0, 2, 3), correction=0).tolist()
    assert std[:2] == pytest.approx(expected[:2])
    assert std[2] == pytest.approx(1 / 255)  # a constant channel must not divide by nothing


def test_statistics_of_large_images_take_no_more_memory() -> None:
    class Large:
        """Images that are only asked for; as on Apple's processors, which have no float64."""

        shape = (3, 1024, 1024)
        most = 0
        device = torch.device("mps")

        def __len__(self) -> int:
            return 30

        def gather(self, index: Tensor) -> Large:
            self.most = max(self.most, len(index))
            self.asked = len(index)
            return self

        def cpu(self) -> Tensor:
            return torch.full((self.asked, 3, 2, 2), 51, dtype=torch.uint8)

    images = Large()
    mean, _ = statistics(images)
    assert mean == pytest.approx((0.2, 0.2, 0.2))
    assert images.most == 10


def test_weights_that_are_no_tensors_are_refused_before_training(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SelfClassifierHead, "get_extra_state", lambda self: {"steps": 3}, raising=False)
    with pytest.raises(IncompatibleComponentError) as error:
        assemble(load_recipe(tiny))
    assert "its state holds _extra_state, which is no tensor" in str(error.value)
    assert str(error.value).endswith("keep it as a buffer")


def test_what_a_loss_needs_is_checked_against_its_head(tiny: Path) -> None:
    without = tiny.read_text().replace('[head]\nuse = "selfcls-mlp"\nhidden_dims = []\nclassifiers = [10]\n', "")
    tiny.write_text(without)
    line = without.splitlines().index('use = "selfcls"') + 1
    assert refusal(tiny) == f"tiny.toml:{line}: loss.use: the loss 'selfcls' needs logits, but the recipe has no [head]"


def test_a_refused_option_is_located(tiny: Path) -> None:
    line = tiny.read_text().splitlines().index("[views]") + 2
    tiny.write_text(tiny.read_text().replace('use = "affine"\n', 'use = "crops"\nhue = 0.1\n'))
    found = refusal(tiny)
    assert found.startswith(f"tiny.toml:{line - 1}: views.saturation: needs RGB images, but these have 1 channel; set ")


def test_an_option_that_contradicts_the_training_is_located(tiny: Path) -> None:
    found = refusal(tiny, "train.epochs=1", "optimizer.warmup_epochs=2")
    assert found.startswith("--set optimizer.warmup_epochs=2: optimizer.warmup_epochs: ")


def test_a_classifier_that_is_not_there_is_refused(tiny: Path) -> None:
    assert refusal(tiny, "evaluation.classifier=1") == (
        "--set evaluation.classifier=1: evaluation.classifier: must be 0 to 0, "
        "the places of the head's classifiers; found 1"
    )


def test_a_constructor_that_fails_names_its_distribution(tiny: Path, install) -> None:
    source = """
import sslkit
class Bad(sslkit.Loss):
    api = 1
    forward = None
    def __init__(self, options, context):
        1 / 0
"""
    install("plug", "[sslkit.losses]\nbad = bad_at_building:Bad\n", version="4.2", bad_at_building=source)
    with pytest.raises(
        BrokenComponentError, match=r"loss 'bad' of plug 4.2 .*: building it fails with ZeroDivisionError"
    ):
        assemble(load_recipe(tiny, ["loss.use=bad"]))


def test_what_no_memory_can_hold_is_located(tiny: Path, install) -> None:
    source = "import sslkit, torch\nclass Greedy(sslkit.Loss):\n    api = 1\n    forward = None\n"
    source += "    def __init__(self, options, context):\n        torch.empty(2**60)\n"
    install("plug", "[sslkit.losses]\ngreedy = greedy_loss:Greedy\n", version="4.2", greedy_loss=source)
    tiny.write_text(tiny.read_text().replace('use = "selfcls"\n', 'use = "greedy"\n'))
    line = tiny.read_text().splitlines().index("[loss]") + 1
    found = refusal(tiny)
    assert found.startswith(f"tiny.toml:{line}: loss: loss 'greedy' of plug 4.2 ")
    assert ": building it fails with RuntimeError: " in found
    assert found.endswith("; this is a fault of plug or of its options")


HEADS = """
import sslkit
class Bad(sslkit.Head):
    api = 1
    def embed(self, features):
        return features
"""


def test_a_head_that_does_not_say_its_size_is_refused(tiny: Path, install) -> None:
    install("plug", "[sslkit.heads]\nbad = sizeless_head:Bad\n", sizeless_head=HEADS)
    with pytest.raises(
        IncompatibleComponentError, match=r"head 'bad' of plug .*: its embedding_dim must be a positive integer"
    ):
        assemble(load_recipe(tiny, ["head.use=bad", "loss.use=swav"]))


@pytest.mark.parametrize("name", ["training", "items", "forward", "a-b"])
def test_heads_and_losses_may_be_called_anything(tiny: Path, name: str) -> None:
    assembly = assemble(load_recipe(tiny, [f"head.name={name}", f"loss.name={name}"]))
    assert list(assembly.method.heads) == list(assembly.method.losses) == [name]
    trained = {id(parameter) for parameter in assembly.method.parameters()}
    assert {id(parameter) for parameter in assembly.method.heads[name].parameters()} <= trained


def test_the_runs_head_is_the_first_that_a_loss_reads(tiny: Path) -> None:
    text = tiny.read_text().replace(
        "[head]", '[[head]]\nuse = "selfcls-mlp"\nname = "idle"\nclassifiers = [5]\n\n[[head]]'
    )
    tiny.write_text(text.replace("[loss]", '[loss]\nhead = "selfcls-mlp"'))
    assert assemble(load_recipe(tiny)).head == "selfcls-mlp"
    assert refusal(tiny, "evaluation.head=idle") == (
        "--set evaluation.head=idle: evaluation.head: no loss reads the head 'idle': it stays as it was initialised"
    )
