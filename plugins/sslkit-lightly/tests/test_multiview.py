"""The losses TiCo, MMCR, EMP-SSL, FroSSL, LeJEPA and W-MSE, compared with lightly's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from lightly.loss import FroSSLLoss, LeJEPALoss, MMCRLoss, TiCoLoss, WMSELoss
from lightly.loss.emp_ssl_loss import invariance_loss, tcr_loss
from torch import Tensor
from torch.nn.functional import normalize

import sslkit
from sslkit_lightly.mmcr import Mmcr
from sslkit_lightly.multiview import EmpSsl, FroSsl, LeJepa
from sslkit_lightly.tico import TiCo
from sslkit_lightly.wmse import WMse

CONTEXT = sslkit.Context(1, 8, (0.5,), (0.5,), 6, 10, 4, view_count=3, global_view_count=2, embedding_dim=4)
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


def batch(count: int, seed: int = 0, images: int = 6, width: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [z.requires_grad_() for z in torch.randn(count, images, width, dtype=torch.float64, generator=generator)]


def outputs(student: list[Tensor], teacher: list[Tensor] | None = None) -> sslkit.ViewOutputs:
    named = {"student": student, "teacher": teacher or student}
    branches = {name: sslkit.BranchOutputs(tuple(views), tuple(views)) for name, views in named.items()}
    return sslkit.ViewOutputs(branches, 2, torch.arange(len(student[0])))


def assert_equal_with_gradients(actual: Tensor, expected: Tensor, inputs: list[Tensor]) -> None:
    torch.testing.assert_close(actual, expected, **CLOSE)
    gradients = torch.autograd.grad(expected, inputs, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(actual, inputs), gradients, **CLOSE)


def test_tico_equals_lightly_on_all_pairs_and_keeps_its_covariance() -> None:
    loss, reference = TiCo(TiCo.Options(beta=0.8, rho=3.0), CONTEXT).double(), TiCoLoss(beta=0.8, rho=3.0)
    buffer = loss.loss.C
    for step in range(3):
        student, teacher = batch(3, step), batch(2, step + 10)
        pairs = [(student[j], teacher[i].detach()) for i in (0, 1) for j in (0, 1, 2) if i != j]
        expected = reference(*(torch.cat(side) for side in zip(*pairs, strict=True)))
        assert_equal_with_gradients(loss(outputs(student, teacher)).total, expected, student)
    assert loss.loss.C is buffer
    torch.testing.assert_close(loss.state_dict()["loss.C"], reference.C, **CLOSE)
    loss.eval()(outputs(student, teacher))
    torch.testing.assert_close(buffer, reference.C, **CLOSE)


def test_mmcr_equals_lightly_on_unit_embeddings() -> None:
    student, teacher = batch(2), batch(2, 1)
    online, momentum = (normalize(torch.stack(views, dim=1), dim=2) for views in (student, teacher))
    expected = MMCRLoss(lmda=0.3)(online, momentum.detach())
    loss = Mmcr(Mmcr.Options(lmda=0.3), CONTEXT)
    assert_equal_with_gradients(loss(outputs(student, teacher)).total, expected, student)


def test_mmcr_without_its_second_term_is_the_nuclear_norm_of_the_means() -> None:
    views = [torch.eye(4, dtype=torch.float64)] * 3
    total = Mmcr(Mmcr.Options(lmda=0), CONTEXT)(outputs(views)).total
    assert total.item() == pytest.approx(-4), "equal views of orthogonal images have the largest norm"


def test_emp_ssl_has_lightlys_terms_and_the_authors_sign() -> None:
    views = batch(3)
    unit = normalize(torch.stack(views), dim=2)
    expected = 7 * invariance_loss(unit) - tcr_loss(unit, eps=0.3)
    output = EmpSsl(EmpSsl.Options(tcr_eps=0.3, inv_coef=7), CONTEXT)(outputs(views))
    assert_equal_with_gradients(output.total, expected, views)
    torch.testing.assert_close(output.terms["invariance"] + output.terms["spread"], output.total)


def test_emp_ssl_is_lower_for_different_images_than_for_equal_ones() -> None:
    loss, different = EmpSsl(EmpSsl.Options(), CONTEXT), [torch.eye(4, dtype=torch.float64)] * 3
    collapsed = [torch.ones(4, 4, dtype=torch.float64)] * 3
    assert loss(outputs(different)).total < loss(outputs(collapsed)).total - 1


@pytest.mark.parametrize(("images", "width"), [(6, 4), (4, 6)])
def test_frossl_equals_lightly(images: int, width: int) -> None:
    views = batch(3, images=images, width=width)
    expected = FroSSLLoss(invariance_weight=0.7)(views)
    loss = FroSsl(FroSsl.Options(invariance_weight=0.7), CONTEXT)
    assert_equal_with_gradients(loss(outputs(views)).total, expected, views)


def test_lejepa_equals_lightly_with_the_same_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    views = batch(3)
    loss = LeJepa(LeJepa.Options(lambda_param=0.3, sigreg_knots=9, sigreg_num_vectors=20), CONTEXT).double()
    reference = LeJEPALoss(lambda_param=0.3, sigreg_knots=9, sigreg_num_vectors=20).double()
    directions = loss.scheduled(0)["directions"].double()
    monkeypatch.setattr(reference.sigreg, "_generate_unit_vectors", lambda *args: directions)
    expected = reference(global_proj=torch.stack(views[:2]), local_proj=torch.stack(views[2:]))
    assert_equal_with_gradients(loss(outputs(views)).total, expected, views)


def test_lejepa_draws_unit_directions_from_seed_and_step() -> None:
    def draw(step: int = 0, seed: int = 0) -> Tensor:
        return LeJepa(LeJepa.Options(sigreg_num_vectors=20), replace(CONTEXT, seed=seed)).scheduled(step)["directions"]

    torch.testing.assert_close(draw().norm(dim=0), torch.ones(20))
    assert torch.equal(draw(), draw())
    assert not torch.equal(draw(step=7), draw())
    assert not torch.equal(draw(seed=7), draw())


@pytest.mark.parametrize("w_size", [8, 16])
def test_wmse_equals_lightly_with_the_same_sub_batches(w_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(torch, "randperm", lambda count, generator=None: order)
    views = batch(2, images=16)
    reference = WMSELoss(4, eps=0.1, track_running_stats=False, w_size=w_size, w_iter=2)
    loss = WMse(WMse.Options(w_size=w_size, w_iter=2, eps=0.1), replace(CONTEXT, batch_size=16))
    assert_equal_with_gradients(loss(outputs(views)).total, reference(torch.cat(views)), views)


def test_wmse_whitens_each_sub_batch() -> None:
    loss = WMse(WMse.Options(w_size=8), replace(CONTEXT, batch_size=16))
    for sub_batch in loss.whiten(torch.stack(batch(2, images=16))).flatten(0, 1).split(8):
        torch.testing.assert_close(torch.cov(sub_batch.T), torch.eye(4, dtype=torch.float64))


def test_wmse_draws_new_sub_batches_in_each_step() -> None:
    views, loss = batch(2, images=16), WMse(WMse.Options(w_size=8), replace(CONTEXT, batch_size=16))
    totals = [loss(replace(outputs(views), step=step)).total.item() for step in (0, 0, 1)]
    assert totals[0] == totals[1] != totals[2]


def test_wmse_refuses_sub_batches_that_do_not_fit() -> None:
    with pytest.raises(sslkit.OptionError, match="4 must divide the batch size, which is 6"):
        WMse(WMse.Options(w_size=4), CONTEXT)
    with pytest.raises(sslkit.OptionError, match="6 is less than twice the embedding's dimension 4"):
        WMse(WMse.Options(w_size=6), CONTEXT)
