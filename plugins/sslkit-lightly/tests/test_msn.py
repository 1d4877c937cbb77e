"""MSN and PMSN equal the losses of lightly, in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from lightly.loss import MSNLoss, PMSNLoss
from lightly.models.utils import random_token_mask
from torch.nn.functional import normalize

import sslkit
from sslkit.testing import MethodTests
from sslkit_lightly.masked.msn import Msn, Pmsn


def build(component: type[Msn], **options: Any) -> tuple[Msn, sslkit.Batch]:
    """Return a method whose teacher differs from the student and whose logits are cosines, and a batch, in float64."""
    kit = type("Kit", (MethodTests,), {"component": component, "options": options})()
    method = kit.build().double().train()
    batch = kit.batch()
    with torch.no_grad():
        method.teacher_heads["head"].projection.weight += 0.3
        method.teacher_heads["head"].prototypes.weight.zero_()  # not used
    prototypes = method.heads["head"].prototypes.weight
    method.heads["head"].classify = lambda embedding: (embedding @ normalize(prototypes).T,)
    scheduled = {name: torch.as_tensor(value) for name, value in method.all_scheduled(0).items()}
    return method, replace(batch, views=tuple(group.double() for group in batch.views), scheduled=scheduled)


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor")  # of lightly's PMSNLoss
@pytest.mark.parametrize(
    ("component", "theirs", "options"),
    [
        (Msn, MSNLoss(), {}),
        (Msn, MSNLoss(sinkhorn_iterations=0, regularization_weight=0.3), {"prior_weight": 0.3}),
        (Pmsn, PMSNLoss(sinkhorn_iterations=0, power_law_exponent=0.7), {"prior_exponent": 0.7}),
    ],
    ids=["msn", "msn without sinkhorn", "pmsn"],
)
def test_equals_the_loss_of_lightly(component: type[Msn], theirs: MSNLoss, options: dict[str, float]) -> None:
    method, batch = build(component, sinkhorn_iterations=theirs.sinkhorn_iterations, **options)
    head = method.heads["head"]
    targets = method.teacher_heads["head"].embed(method.teacher(batch.views[0][0]))
    order, features = batch.scheduled["order"], []
    for number, (view, patches) in enumerate([(batch.views[0][1], 64), *((view, 16) for view in batch.views[1])]):
        keep = order[:, number, :patches].argsort(1, descending=True)[:, : int(patches * 0.85)]
        features.append(method.backbone.tokens(view, keep=keep).features)
    expected = theirs(head.embed(torch.cat(features)), targets, head.prototypes.weight)
    output = method(batch)
    close = {"rtol": 1e-7, "atol": 1e-7} if component is Pmsn else {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(output.loss, expected, **close)  # lightly's power law has float32
    parameters = [*method.backbone.parameters(), *head.parameters()]
    ours, wanted = (torch.autograd.grad(loss, parameters) for loss in (output.loss, expected))
    torch.testing.assert_close(ours, wanted, **close)


def test_the_prior_decides_how_prototypes_are_used() -> None:
    even, power = torch.full((4,), 0.25), torch.tensor([1.0, 1 / 2, 1 / 3, 1 / 4]) / (25 / 12)
    uniform, law = build(Msn)[0], build(Pmsn, prior_exponent=1.0)[0]
    torch.testing.assert_close(uniform.prior_loss(even), torch.tensor(0.0), rtol=0, atol=1e-6)
    torch.testing.assert_close(law.prior_loss(power), torch.tensor(0.0), rtol=0, atol=1e-6)
    assert uniform.prior_loss(power) > 0.05
    assert law.prior_loss(even) > 0.05


def test_the_student_does_not_see_the_patches_that_it_skips() -> None:
    method, batch = build(Msn, mask_ratio=0.5)
    before = method(batch).loss
    skipped = batch.scheduled["order"][:, 0].argsort(1)[:, :32]
    hidden = torch.ones(8, 64, dtype=torch.float64).scatter(1, skipped, 0.0).view(8, 1, 8, 8)
    views = batch.views[0].clone()
    views[1] *= hidden.repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(method(replace(batch, views=(views, *batch.views[1:]))).loss, before)
    views[0] *= hidden.repeat_interleave(4, 2).repeat_interleave(4, 3)  # the teacher sees all patches
    assert not torch.allclose(method(replace(batch, views=(views, *batch.views[1:]))).loss, before)


def test_as_many_patches_are_kept_as_in_lightly() -> None:
    kept, _ = random_token_mask((2, 1 + 64), mask_ratio=0.15)
    method, batch = build(Msn)
    seen: list[int] = []
    tokens = method.backbone.tokens
    method.backbone.tokens = lambda images, keep: (seen.append(keep.shape[1]), tokens(images, keep=keep))[1]
    method(batch)
    assert abs(seen[0] + 1 - kept.shape[1]) <= 1
    assert len(seen) == 2
