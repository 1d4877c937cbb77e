"""Collapse metrics equal their definitions, and a measurement does not change the network."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sslkit.training.monitor.collapse_metrics import batch_statistics, effective_rank, feature_std


def test_effective_rank_and_feature_std_match_their_papers() -> None:
    torch.manual_seed(0)
    assert effective_rank(torch.eye(8)) == pytest.approx(8, rel=1e-3)
    assert effective_rank(torch.randn(50, 1) * torch.randn(1, 8)) == pytest.approx(1, rel=1e-3)
    assert feature_std(torch.randn(5000, 16)) == pytest.approx(1, rel=0.02)
    assert feature_std(torch.ones(10, 16)) == pytest.approx(0, abs=1e-6)
    assert math.isnan(effective_rank(torch.full((4, 4), math.nan)))


def test_batch_norm_uses_batch_statistics_without_updates_or_synchronisation() -> None:
    norm = nn.SyncBatchNorm(3).eval()
    norm.running_mean.fill_(7)
    images = torch.rand(8, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    modes: list[bool] = []
    norm.register_forward_pre_hook(lambda layer, inputs: modes.append(layer.training))
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    with batch_statistics(nn.Sequential(norm)):
        normalised = norm(images)
    torch.testing.assert_close(normalised.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    assert modes == [False], "in train mode SyncBatchNorm would wait for other processes"
    assert norm.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    assert normalised.mean() - norm(images).mean() > 3, "afterwards it uses its running statistics again"
