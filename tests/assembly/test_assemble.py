from __future__ import annotations

from pathlib import Path

import pytest

from sslkit.assembly.assemble import assemble
from sslkit.errors import BrokenComponentError, IncompatibleComponentError, RecipeError
from sslkit.recipe.load import load_recipe
from sslkit_selfcls.head import SelfClassifierHead


def problem(path: Path, *settings: str) -> str:
    """Return the problem that assembling a recipe reports."""
    with pytest.raises(RecipeError) as error:
        assemble(load_recipe(path, settings))
    return str(error.value).replace(f"{path.parent}/", "").splitlines()[1].strip()


def test_state_that_is_not_a_tensor_is_refused_before_training(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SelfClassifierHead, "get_extra_state", lambda self: {"steps": 3}, raising=False)
    with pytest.raises(IncompatibleComponentError) as error:
        assemble(load_recipe(tiny))
    assert "_extra_state in its state is not a tensor" in str(error.value)
    assert str(error.value).endswith("keep it as a buffer")


def test_loss_that_needs_logits_requires_a_head(tiny: Path) -> None:
    without = tiny.read_text().replace('[head]\nuse = "selfcls-mlp"\nhidden_dims = []\nclassifiers = [10]\n', "")
    tiny.write_text(without)
    line = without.splitlines().index('use = "selfcls"') + 1
    message = f"tiny.toml:{line}: loss.use: the loss 'selfcls' needs logits, but the recipe has no [head]"
    assert problem(tiny) == f'{message} (add [head] with use = "...")'


def test_option_that_does_not_fit_the_images_is_located(tiny: Path) -> None:
    line = tiny.read_text().splitlines().index("[views]") + 2
    tiny.write_text(tiny.read_text().replace('use = "affine"\n', 'use = "crops"\nhue = 0.1\n'))
    message = problem(tiny)
    assert message.startswith(
        f"tiny.toml:{line - 1}: views.saturation: needs RGB images, but these have 1 channel; set "
    )


def test_option_that_does_not_fit_the_training_is_located(tiny: Path) -> None:
    message = problem(tiny, "train.epochs=1", "optimizer.warmup_epochs=2")
    assert message.startswith("--set optimizer.warmup_epochs=2: optimizer.warmup_epochs: ")


def test_classifier_index_out_of_range_is_refused(tiny: Path) -> None:
    assert problem(tiny, "evaluation.classifier=1") == (
        "--set evaluation.classifier=1: evaluation.classifier: "
        "must be the index of one of the head's classifiers, 0 to 0, not 1"
    )


def test_failing_constructor_names_its_distribution(tiny: Path, install) -> None:
    source = """
import sslkit
class Bad(sslkit.Loss):
    api = 2
    forward = None
    def __init__(self, options, context):
        1 / 0
"""
    install("plug", "[sslkit.losses]\nbad = bad_at_building:Bad\n", version="4.2", bad_at_building=source)
    with pytest.raises(
        BrokenComponentError, match=r"loss 'bad' of plug 4.2 .*: its constructor raises ZeroDivisionError"
    ):
        assemble(load_recipe(tiny, ["loss.use=bad"]))


def test_a_constructor_that_refuses_the_training_is_located(tiny: Path, install) -> None:
    source = """
import sslkit
class Bad(sslkit.Loss):
    api = 2
    forward = None
    def __init__(self, options, context):
        raise sslkit.InputError("works for three classifiers")
"""
    install("plug", "[sslkit.losses]\nbad = refusing_loss:Bad\n", refusing_loss=source)
    tiny.write_text(tiny.read_text().replace('use = "selfcls"\n', 'use = "bad"\n'))
    line = tiny.read_text().splitlines().index("[loss]") + 1
    assert problem(tiny) == f"tiny.toml:{line}: loss: works for three classifiers"


def test_a_constructor_without_that_of_its_base_class_is_located(tiny: Path, install) -> None:
    source = """
import sslkit
class Bad(sslkit.Loss):
    api = 2
    forward = None
    def __init__(self, options, context):
        self.options = options
"""
    install("plug", "[sslkit.losses]\nbad = baseless_loss:Bad\n", baseless_loss=source)
    message = r"loss: loss 'bad' of plug .*: its constructor must call super\(\).__init__\(options, context\) first"
    with pytest.raises(BrokenComponentError, match=message):
        assemble(load_recipe(tiny, ["loss.use=bad"]))


def test_component_too_large_for_memory_is_located(tiny: Path, install) -> None:
    source = "import sslkit, torch\nclass Greedy(sslkit.Loss):\n    api = 2\n    forward = None\n"
    source += "    def __init__(self, options, context):\n        torch.empty(2**60)\n"
    install("plug", "[sslkit.losses]\ngreedy = greedy_loss:Greedy\n", version="4.2", greedy_loss=source)
    tiny.write_text(tiny.read_text().replace('use = "selfcls"\n', 'use = "greedy"\n'))
    line = tiny.read_text().splitlines().index("[loss]") + 1
    message = problem(tiny)
    assert message.startswith(f"tiny.toml:{line}: loss: loss 'greedy' of plug 4.2 ")
    assert ": its constructor raises RuntimeError: " in message
    assert "check its options, or report this to the authors of plug" in message


HEAD_WITHOUT_SIZE = """
import sslkit
class Bad(sslkit.Head):
    api = 2
    def embed(self, features):
        return features
"""


def test_head_without_embedding_dim_is_refused(tiny: Path, install) -> None:
    install("plug", "[sslkit.heads]\nbad = sizeless_head:Bad\n", sizeless_head=HEAD_WITHOUT_SIZE)
    with pytest.raises(
        IncompatibleComponentError, match=r"head 'bad' of plug .*: its embedding_dim must be a positive integer"
    ):
        assemble(load_recipe(tiny, ["head.use=bad", "loss.use=swav"]))


@pytest.mark.parametrize("name", ["training", "items", "forward", "a-b"])
def test_heads_and_losses_may_have_any_name(tiny: Path, name: str) -> None:
    assembly = assemble(load_recipe(tiny, [f"head.name={name}", f"loss.name={name}"]))
    assert list(assembly.method.heads) == list(assembly.method.losses) == [name]
    trained = {id(parameter) for parameter in assembly.method.parameters()}
    assert {id(parameter) for parameter in assembly.method.heads[name].parameters()} <= trained


def test_evaluation_uses_the_first_head_that_a_loss_reads(tiny: Path) -> None:
    text = tiny.read_text().replace(
        "[head]", '[[head]]\nuse = "selfcls-mlp"\nname = "idle"\nclassifiers = [5]\n\n[[head]]'
    )
    tiny.write_text(text.replace("[loss]", '[loss]\nhead = "selfcls-mlp"'))
    assert assemble(load_recipe(tiny)).head == "selfcls-mlp"
    assert problem(tiny, "evaluation.head=idle") == (
        "--set evaluation.head=idle: evaluation.head: no loss reads the head 'idle', so it is not trained"
    )
