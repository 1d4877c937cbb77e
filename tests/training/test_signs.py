"""What a network is measured by, as training sees it, and that measuring changes nothing."""

from __future__ import annotations

import torch
from torch import nn

from sslkit.training.monitor.collapse_metrics import batch_statistics


def test_batch_norm_sees_the_batch_keeps_its_statistics_and_waits_for_no_other_process() -> None:
    norm = nn.SyncBatchNorm(3).eval()
    norm.running_mean.fill_(7)
    images = torch.rand(8, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    modes: list[bool] = []
    norm.register_forward_pre_hook(lambda layer, given: modes.append(layer.training))
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    with batch_statistics(nn.Sequential(norm)):
        seen = norm(images)
    torch.testing.assert_close(seen.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    assert modes == [False], "in training it would synchronise"
    assert norm.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    assert seen.mean() - norm(images).mean() > 3, "its own statistics again"
