"""Methods that mask patches equal the modules and losses of lightly, in float64."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from lightly.loss import DINOLoss, IBOTPatchLoss, KoLeoLoss
from lightly.models.modules import MaskedVisionTransformerTIMM
from lightly.models.utils import get_at_index, normalize_mean_var, patchify, repeat_token, set_at_index
from torch import Tensor

import sslkit
from sslkit.testing import MethodTests
from sslkit_backbones.timm_models import Timm
from sslkit_lightly.masked.distillation import DinoV2, Ibot
from sslkit_lightly.masked.heads import require_classifier_heads
from sslkit_lightly.masked.ijepa import IJepa
from sslkit_lightly.masked.masks import block_masks, context_patches, masked_first, split_patches, target_blocks
from sslkit_lightly.masked.pixels import Mae, SimMim
from sslkit_lightly.masked.targets import CentredTargets, SinkhornTargets, cross_entropy, koleo

CLOSE = {"rtol": 1e-10, "atol": 1e-10}
MODEL = {"embed_dim": 12, "depth": 2, "num_heads": 2, "patch_size": 8}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(component: type[sslkit.Method], **options: Any) -> tuple[sslkit.Method, sslkit.Batch]:
    """Return a method with a small vision transformer in float64, and a batch of two global views of 32 pixels."""
    kit = type("Kit", (MethodTests,), {"component": component, "options": options})()
    context = kit.make_context(feature_dim=0)
    backbone = Timm(Timm.Options(model="vit_tiny_patch16_224", arguments=MODEL), context)
    method = kit.build(backbone=backbone, feature_dim=backbone.feature_dim).double().train()
    batch = kit.batch(local_views=())
    views = tuple(group.double() for group in batch.views)
    scheduled = {
        name: value.double() if value.is_floating_point() else value
        for name, value in ((name, torch.as_tensor(value)) for name, value in method.all_scheduled(0).items())
    }
    return method, replace(batch, views=views, scheduled=scheduled)


def of_lightly(method: sslkit.Method) -> MaskedVisionTransformerTIMM:
    """Return lightly's masked vision transformer with the weights of the method's backbone."""
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=0, **MODEL).double()
    masked = MaskedVisionTransformerTIMM(vit=vit).double()
    vit.load_state_dict(method.backbone.network.state_dict())  # after lightly has initialised the positions
    return masked


def flat(drawn: Tensor) -> Tensor:
    """Return values ``[B, V, ...]`` in the order of the images ``[V * B, ...]``."""
    return drawn.transpose(0, 1).flatten(0, 1)


def equal_gradients(ours: sslkit.Method, theirs: MaskedVisionTransformerTIMM) -> None:
    """Check that both transformers have equal gradients, except for positions, which lightly freezes."""
    own = {name: parameter.grad for name, parameter in ours.backbone.network.named_parameters()}
    expected = {name: parameter.grad for name, parameter in theirs.vit.named_parameters()}
    del own["pos_embed"], expected["pos_embed"]
    torch.testing.assert_close(own, expected, **CLOSE)


@pytest.mark.parametrize("normalised", [True, False])
def test_mae_equals_the_example_of_lightly(normalised: bool) -> None:
    method, batch = build(Mae, decoder_dim=16, decoder_depth=1, decoder_heads=2, normalise_patches=normalised)
    output = method(batch)
    output.loss.backward()
    theirs, images = of_lightly(method), batch.views[0].flatten(0, 1)
    keep, masked = (flat(batch.scheduled[name]) + 1 for name in ("visible", "masked"))  # the class token is number 0
    keep = torch.cat([torch.zeros_like(keep[:, :1]), keep], 1)
    decoded = repeat_token(method.decoder.mask_token, (len(images), 17))
    encoded = theirs.encode(images=images, idx_keep=keep)
    decoded = set_at_index(decoded, keep, method.embedding(encoded).type_as(decoded))
    decoded = method.decoder.decode(method.decoder.add_pos_embed(decoded))
    predicted = method.pixels(get_at_index(decoded, masked))
    target = get_at_index(patchify(images, 8), masked - 1)
    loss = torch.nn.MSELoss()(predicted, normalize_mean_var(target) if normalised else target)
    loss.backward()
    torch.testing.assert_close(output.loss, loss, **CLOSE)
    equal_gradients(method, theirs)
    assert keep.shape == (16, 1 + 4)


def test_simmim_equals_the_example_of_lightly() -> None:
    method, batch = build(SimMim)
    theirs, images = of_lightly(method), batch.views[0].flatten(0, 1)
    theirs.mask_token.data.copy_(method.mask_token)
    masked = flat(batch.scheduled["masked"])
    encoded = theirs.encode(images=images, idx_mask=masked + 1)
    predicted = method.pixels(get_at_index(encoded, masked + 1))
    loss = torch.nn.L1Loss()(predicted, get_at_index(patchify(images, 8), masked))
    torch.testing.assert_close(method(batch).loss, loss, **CLOSE)
    assert masked.shape == (16, 10)


def test_masked_pixels_of_visible_patches_do_not_matter() -> None:
    method, batch = build(Mae, decoder_dim=16, decoder_depth=1, decoder_heads=2)
    images = batch.views[0].flatten(0, 1)
    visible, masked = (flat(batch.scheduled[name]) for name in ("visible", "masked"))
    before = method.predict(images, visible, masked)
    hidden = torch.zeros(16, 16, dtype=torch.float64).scatter(1, visible, 1.0).view(16, 1, 4, 4)
    changed = images * hidden.repeat_interleave(8, 2).repeat_interleave(8, 3)
    torch.testing.assert_close(method.predict(changed, visible, masked), before, **CLOSE)


def test_ijepa_predicts_normalised_features_of_the_teacher() -> None:
    method, batch = build(IJepa, predictor_dim=16, predictor_depth=1, predictor_heads=2, target_scale=0.15)
    with torch.no_grad():
        method.teacher.network.pos_embed += 0.1  # a teacher that differs from the student
    teacher, images = of_lightly(method), batch.views[0].flatten(0, 1)
    teacher.vit.load_state_dict(method.teacher.network.state_dict())
    targets, kept = (flat(batch.scheduled[name]) for name in ("targets", "kept"))
    features = teacher.encode(images=images)[:, 1:]
    features = torch.nn.functional.layer_norm(features, (12,))
    expected = torch.cat([get_at_index(features, block) for block in targets.unbind(1)])
    student = of_lightly(method)
    context = student.encode(images=images, idx_keep=torch.cat([torch.zeros_like(kept[:, :1]), kept + 1], 1))[:, 1:]
    predicted = method.predictor(context, [kept], list(targets.unbind(1)))
    loss = torch.nn.SmoothL1Loss()(predicted, expected)
    output = method(batch).loss
    torch.testing.assert_close(output, loss, **CLOSE)
    output.backward()
    assert all(parameter.grad is None for parameter in method.teacher.parameters())


def test_context_and_targets_do_not_overlap() -> None:
    blocks = target_blocks(50, 4, (3, 2), (6, 6), generator())
    assert blocks.shape == (50, 4, 6)
    rows, columns = blocks // 6, blocks % 6
    assert (rows.amax(2) - rows.amin(2) == 2).all()
    assert (columns.amax(2) - columns.amin(2) == 1).all()
    kept = context_patches(blocks, 36, 12, generator())
    for context, targets in zip(kept.tolist(), blocks.flatten(1).tolist(), strict=True):
        assert len(set(context)) == 12
        assert not set(context) & set(targets)
    assert kept.unique().tolist() == list(range(36))


def test_split_patches_has_every_patch_once() -> None:
    visible, masked = split_patches(20, 16, 0.75, generator())
    assert (visible.shape, masked.shape) == ((20, 4), (20, 12))
    assert (torch.cat([visible, masked], 1).sort(1)[0] == torch.arange(16)).all()
    assert visible.unique().tolist() == list(range(16))


def test_block_masks_have_about_the_wanted_number_of_patches() -> None:
    counts = torch.tensor([0, 10, 50, 100] * 50)
    masks = block_masks(counts, 14, 14, generator())
    masked = masks.sum((1, 2)).view(50, 4).float()
    assert (masked <= counts.view(50, 4)).all()
    assert (masked.mean(0) >= torch.tensor([0.0, 8.0, 42.0, 85.0])).all()
    single = block_masks(torch.tensor([9] * 50), 14, 14, generator()).sum((1, 2))
    assert single.min() >= 4


def test_ibot_equals_the_losses_of_lightly() -> None:
    world, shape = sslkit.World(), (4, 3, 3)
    mask = torch.zeros(*shape, dtype=torch.bool)
    mask[0, 0] = mask[1, :, 1] = mask[3, 2, 2] = True
    index, weights = masked_first(mask.flatten(1), 5)
    theirs, ours = torch.randn(4, 9, 6, generator=generator()), torch.randn(4, 9, 6, generator=generator(1))
    theirs, ours = theirs.double(), ours.double().requires_grad_()
    loss, targets = IBOTPatchLoss(6, 0.06, 0.1).double(), CentredTargets(world, 6, 0.9).double()
    expand = index[..., None].expand(-1, -1, 6)
    for _ in range(3):  # the centre changes
        expected = loss(theirs.flatten(0, 1)[mask.flatten()], ours.flatten(0, 1)[mask.flatten()], mask)
        wanted = targets(theirs.gather(1, expand).flatten(0, 1), torch.tensor(0.06), (weights > 0).double().flatten())
        entropies = cross_entropy(wanted, ours.gather(1, expand).flatten(0, 1) / 0.1)
        total = (entropies * weights.double().flatten()).sum() / 4
        torch.testing.assert_close(total, expected, rtol=1e-7, atol=1e-7)  # lightly's temperature is a float32 tensor
        one, other = (torch.autograd.grad(value, ours)[0] for value in (total, expected))
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(targets.center, loss.center.value.flatten(), **CLOSE)


def test_the_loss_on_images_equals_that_of_lightly() -> None:
    method, batch = build(Ibot, patch_weight=0.0, masked_views=0.0)
    output = method(batch)
    theirs = DINOLoss(5, teacher_temp=0.04, student_temp=0.1).double()
    features = [method.backbone(view) for view in batch.views[0]]
    logits = [method.heads["head"](own).logits[0] for own in features]
    expected = theirs([own.detach() for own in logits], logits, teacher_temp=0.04)
    torch.testing.assert_close(output.loss, expected, rtol=1e-7, atol=1e-7)  # lightly's temperature has float32
    torch.testing.assert_close(output.terms["images"], output.loss.detach())


def test_koleo_equals_that_of_lightly() -> None:
    features = torch.randn(9, 5, generator=generator(), dtype=torch.float64).requires_grad_()
    ours, theirs = koleo(features), KoLeoLoss()(features)
    torch.testing.assert_close(ours, theirs, **CLOSE)
    torch.testing.assert_close(*(torch.autograd.grad(loss, features)[0] for loss in (ours, theirs)), **CLOSE)


def test_sinkhorn_uses_all_prototypes_equally_and_ignores_padding() -> None:
    logits = 0.05 * torch.randn(40, 4, generator=generator(), dtype=torch.float64)
    logits[30:] = 100  # padding
    valid = (torch.arange(40) < 30).double()
    targets = SinkhornTargets(sslkit.World(), 50)(logits, torch.tensor(0.1), valid)
    torch.testing.assert_close(targets[:30].sum(1), torch.ones(30, dtype=torch.float64), **CLOSE)
    torch.testing.assert_close(targets[:30].sum(0), torch.full((4,), 7.5, dtype=torch.float64), rtol=1e-4, atol=0)
    assert not targets[30:].any()


def test_dinov2_adds_koleo_and_reads_a_second_head_for_patches() -> None:
    method, batch = build(DinoV2)
    terms = method(batch).terms
    assert set(terms) == {"images", "patches", "koleo"}
    total = terms["images"] + terms["patches"] + 0.1 * terms["koleo"]
    torch.testing.assert_close(method(batch).loss.detach(), total)


def test_masks_change_with_the_step_and_fit_the_options() -> None:
    method, _ = build(Ibot, masked_views=0.5, mask_ratio=[0.25, 0.5])
    masks = [torch.as_tensor(method.scheduled(step)["mask"]) for step in (0, 0, 1)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    counts = masks[0].sum(2).flatten()
    assert 4 <= (counts > 0).sum() <= 8
    assert counts.max() <= 8


@pytest.mark.parametrize(
    ("classes", "most", "message"),
    [
        ({"a": [3], "b": [3]}, 1, "reads one head, but the recipe has 2 heads"),
        ({"a": [3], "b": [3], "c": [3]}, 2, "reads at most 2 heads, but the recipe has 3 heads"),
        ({"a": [3], "b": []}, 2, "the head 'b' has no classifiers"),
    ],
)
def test_heads_that_a_method_cannot_read_are_refused(classes: dict[str, list[int]], most: int, message: str) -> None:
    heads: Any = {name: SimpleNamespace(classifiers=sizes) for name, sizes in classes.items()}
    with pytest.raises(sslkit.InputError, match=message):
        require_classifier_heads(heads, most)
