"""The SwAV head: length 1, bias and freezing of prototypes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import sslkit
from sslkit_lightly.swav_head import SwavHead
from sslkit_lightly.swav_loss import SwavLoss

CONTEXT = sslkit.Context(1, 8, (0.5,), (0.5,), 8, 10, 3, view_count=2, feature_dim=6)


def make_head(**options: object) -> SwavHead:
    torch.manual_seed(0)
    values = {"prototypes": (5, 3), "hidden_dim": 7, "embedding_dim": 4, **options}
    return SwavHead(SwavHead.Options.model_validate(values), CONTEXT)


def views(head: SwavHead) -> sslkit.ViewOutputs:
    outputs = [head(torch.randn(8, 6)) for _ in range(2)]
    branch = sslkit.BranchOutputs(
        tuple(output.embedding for output in outputs),
        logits=tuple(zip(*(output.logits for output in outputs), strict=True)),
    )
    return sslkit.ViewOutputs({"student": branch}, 2, torch.arange(8))


def test_defaults_are_the_papers() -> None:
    options = SwavHead.Options()
    assert (options.prototypes, options.hidden_dim, options.embedding_dim) == ((3000,), 2048, 128)


def test_logits_are_cosines() -> None:
    head = make_head()
    output = head(torch.randn(8, 6))
    torch.testing.assert_close(output.embedding.norm(dim=1), torch.ones(8))
    assert [tuple(logits.shape) for logits in output.logits] == [(8, 5), (8, 3)]
    assert head.classifiers == (5, 3)
    for logits, layer in zip(output.logits, head.prototypes.heads, strict=True):
        torch.testing.assert_close(logits, output.embedding @ layer.weight.T)
        torch.testing.assert_close(layer.weight.norm(dim=1), torch.ones(len(layer.weight)))
    assert not any("bias" in name for name, _ in head.prototypes.named_parameters())


def test_prototypes_have_a_bias_only_with_the_option() -> None:
    features = torch.randn(5, 6)
    plain, biased = make_head(), make_head(bias=True)
    assert [name for name, _ in plain.prototypes.named_parameters()] == ["heads.0.weight", "heads.1.weight"]
    output, layer = biased(features), biased.prototypes.heads[0]
    torch.testing.assert_close(output.logits[0], output.embedding @ layer.weight.T + layer.bias)
    assert layer.bias.abs().max() > 0


def test_hidden_dim_linear_has_no_hidden_layer() -> None:
    assert any(isinstance(layer, nn.BatchNorm1d) for layer in make_head().projection.modules())
    assert isinstance(make_head(hidden_dim="linear").projection, nn.Linear)


def test_prototypes_get_gradients_and_train() -> None:
    head = make_head(freeze_prototypes="0 epochs")
    loss = SwavLoss(SwavLoss.Options(), CONTEXT)
    torch.manual_seed(1)
    features = torch.randn(2, 8, 6)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.3, momentum=0.9)
    totals = []
    for step in range(60):
        outputs = [head(view + features[0]) for view in 0.1 * features]
        branch = sslkit.BranchOutputs(
            tuple(features), logits=tuple(zip(*(output.logits for output in outputs), strict=True))
        )
        total = loss(sslkit.ViewOutputs({"student": branch}, 2, torch.arange(8))).total
        optimizer.zero_grad()
        total.backward()
        head.after_backward(step)
        assert all(layer.weight.grad.abs().sum() > 0 for layer in head.prototypes.heads)
        optimizer.step()
        head.after_step()
        totals.append(total.item())
    assert totals[-1] < 0.7 * totals[0]


@pytest.mark.parametrize(
    ("duration", "frozen"),
    [("0 epochs", 0), ("1 epochs", 10), ("0.25 epochs", 2), ("2.0 epochs", 20), ("7 steps", 7), ("50%", 15)],
)
def test_frozen_prototypes_do_not_move(duration: str, frozen: int) -> None:
    head = make_head(freeze_prototypes=duration)
    loss = SwavLoss(SwavLoss.Options(), CONTEXT)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    moved = []
    for step in range(22):
        before = [layer.weight.clone() for layer in head.prototypes.heads]
        optimizer.zero_grad()
        loss(views(head)).total.backward()
        head.after_backward(step)
        optimizer.step()
        head.after_step()
        now = [layer.weight for layer in head.prototypes.heads]
        moved.append([not torch.allclose(*pair, atol=1e-5) for pair in zip(now, before, strict=True)])
    assert moved == [[step >= frozen] * 2 for step in range(22)]
    assert all(parameter.requires_grad for parameter in head.parameters())


def test_after_step_restores_length_one() -> None:
    head = make_head()
    with torch.no_grad():
        for layer in head.prototypes.heads:
            layer.weight.mul_(3)
    head.after_step()
    for layer in head.prototypes.heads:
        torch.testing.assert_close(layer.weight.norm(dim=1), torch.ones(len(layer.weight)))


def test_autocast_does_not_round_logits() -> None:
    head = make_head(hidden_dim="linear").eval()
    embedding = torch.nn.functional.normalize(torch.randn(5, 4))
    expected = head.classify(embedding)
    with torch.autocast("cpu", torch.bfloat16):
        assert all(map(torch.equal, head.classify(embedding), expected))
        assert head(torch.randn(5, 6)).embedding.dtype == torch.float32


@pytest.mark.parametrize(
    "options",
    [
        {"prototypes": ()},
        {"hidden_dim": 0},
        {"hidden_dim": "mlp"},
        {"queue_size": 4},
        {"freeze_prototypes": "1 hours"},
        {"freeze_prototypes": "0.5 steps"},
    ],
)
def test_invalid_options_raise(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        make_head(**options)
