"""The Self-Classifier head: layers, normalisation, gains."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import sslkit
from sslkit_selfcls.head import SelfClassifierHead

CONTEXT = sslkit.Context(1, 8, (0.5,), (0.5,), 4, 1, 1, feature_dim=6)


def make_head(**options: object) -> SelfClassifierHead:
    torch.manual_seed(0)
    values = {"classifiers": (3, 5), "hidden_dims": (7,), "embedding_dim": 4, **options}
    return SelfClassifierHead(SelfClassifierHead.Options.model_validate(values), CONTEXT)


def test_layers_follow_the_options() -> None:
    default = SelfClassifierHead.Options(classifiers=(10,))
    assert (default.hidden_dims, default.embedding_dim, default.batch_norm) == ((4096,), 128, True)
    assert [type(layer) for layer in make_head().mlp] == [nn.Linear, nn.BatchNorm1d, nn.LeakyReLU, nn.Linear]
    assert [type(layer) for layer in make_head(hidden_dims=()).mlp] == [nn.Linear]
    plain = make_head(hidden_dims=(7, 7), batch_norm=False, activation="gelu")
    assert [type(layer) for layer in plain.mlp] == [nn.Linear, nn.GELU, nn.Linear, nn.GELU, nn.Linear]


def test_embeddings_have_length_one_and_logits_start_as_cosines() -> None:
    head = make_head()
    output = head(torch.randn(9, 6))
    torch.testing.assert_close(output.embedding.norm(dim=1), torch.ones(9))
    assert head.classifiers == (3, 5)
    for logits, direction in zip(output.logits, head.directions, strict=True):
        cosine = functional.cosine_similarity(output.embedding[:, None], direction[None], dim=2)
        torch.testing.assert_close(logits, cosine)


def test_logits_depend_only_on_direction_and_gain() -> None:
    head = make_head()
    embedding = torch.randn(2, 4)
    before = head.classify(embedding)
    with torch.no_grad():
        head.directions[0].mul_(7)
        head.gains[1].mul_(3)
    after = head.classify(embedding)
    torch.testing.assert_close(after[0], before[0])
    torch.testing.assert_close(after[1], 3 * before[1])


@pytest.mark.parametrize("train_gain", [True, False])
def test_gains_are_trained_only_with_train_gain(train_gain: bool) -> None:
    head = make_head(train_gain=train_gain)
    sum(logits.square().sum() for logits in head(torch.randn(9, 6)).logits).backward()
    assert all((gain.grad is not None) == train_gain for gain in head.gains)
    assert all(direction.grad is not None and direction.grad.abs().sum() > 0 for direction in head.directions)


def test_dropout_drops_hidden_values_in_training_only() -> None:
    plain, head = make_head(hidden_dims=(7, 7)), make_head(hidden_dims=(7, 7), dropout=0.5)
    assert all(map(torch.equal, plain.state_dict().values(), head.state_dict().values()))
    head.load_state_dict(plain.state_dict())
    dropped = [layer[1] for layer in head.mlp if isinstance(layer, nn.Sequential)]
    assert [type(layer) for layer in head.mlp][3::3] == [nn.Linear, nn.Linear]
    assert [layer.p for layer in dropped] == [0.5, 0.5]
    features = torch.randn(9, 6)
    assert torch.equal(plain.eval()(features).embedding, head.eval()(features).embedding)
    head.train()
    assert not torch.equal(head(features).embedding, head(features).embedding)
    assert not any(isinstance(layer, nn.Dropout) for layer in plain.modules())
    with pytest.raises(ValueError, match="less than 1"):
        make_head(dropout=1.0)


def test_autocast_does_not_round_logits() -> None:
    head = make_head(hidden_dims=()).eval()
    embedding = functional.normalize(torch.randn(5, 4))
    with torch.autocast("cpu", torch.bfloat16):
        assert all(map(torch.equal, head.classify(embedding), make_head(hidden_dims=()).classify(embedding)))
        assert head(torch.randn(5, 6)).embedding.dtype == torch.float32


@pytest.mark.parametrize("options", [{"classifiers": ()}, {"classifiers": (1,)}, {"hidden_dims": (0,)}, {"bias": True}])
def test_invalid_options_raise(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        make_head(**options)
