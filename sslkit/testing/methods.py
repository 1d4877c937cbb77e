"""What is promised of methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.head import Head
from sslkit.contracts.loss import Loss, LossOutput, ViewOutputs
from sslkit.contracts.method import Batch, Method, MethodOutput, Parts, WeightedLoss
from sslkit.testing.accelerator import accelerator
from sslkit.testing.base import ComponentTests, no_global_randomness, require


class _Backbone(Backbone):
    api = 1
    feature_dim = 12

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.layers = nn.Sequential(nn.Conv2d(3, 12, 8, 8), nn.BatchNorm2d(12), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images).mean((2, 3))
        return features

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        return {8: self.layers(images)}


class _Head(Head):
    api = 1
    embedding_dim = 6
    classifiers = (5,)

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.projection = nn.Linear(12, 6)
        self.prototypes = nn.Linear(6, 5, bias=False)

    def embed(self, features: Tensor) -> Tensor:
        return normalize(self.projection(features))

    def classify(self, embedding: Tensor) -> tuple[Tensor, ...]:
        return (self.prototypes(embedding),)


class _Loss(Loss):
    """Views of an image are to be alike, and classes to be sure."""

    api = 1
    needs = frozenset({"embeddings", "logits"})

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.seen: list[ViewOutputs] = []

    def forward(self, views: ViewOutputs) -> LossOutput:
        self.seen.append(views)
        embeddings, (logits,) = views.student.embeddings, views.student.logits
        apart = torch.stack([(embeddings[i] - embeddings[j]).square().sum(1).mean() for i, j in views.pairs()]).mean()
        unsure = torch.stack([-(view.softmax(1) * view.log_softmax(1)).sum(1).mean() for view in logits]).mean()
        return LossOutput(apart + unsure, {"apart": apart})


class MethodTests(ComponentTests):
    """Subclass with ``component`` and, where needed, ``options``.

    The method is given a small convolutional backbone, one head, and a loss that reads its embeddings and logits; two
    of them where a promise is about several.
    """

    component: ClassVar[type[Method]]

    def build(self, seed: int = 0, losses: Mapping[str, tuple[float, int]] | None = None) -> Method:
        """The method with its parts.

        Args:
            seed: of its weights.
            losses: weight and first epoch of each loss, by name.
        """
        wanted = losses or {"agree": (1.0, 0)}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            weighted = (WeightedLoss(name, _Loss(), weight, "head", start) for name, (weight, start) in wanted.items())
            parts = Parts(_Backbone(), {"head": _Head()}, tuple(weighted))
        # What is known of a head, its losses are told, and nothing else.
        context = self.make_context(embedding_dim=0, classifiers=())
        built: Method = self.make(context, parts, seed=seed)
        return built

    def batch(self, step: int = 0) -> Batch:
        """Two global and two local views of eight images."""
        context, generator = self.make_context(), torch.Generator().manual_seed(step)
        groups = (torch.randn(2, 8, 3, 32, 32, generator=generator), torch.randn(2, 8, 3, 16, 16, generator=generator))
        return Batch(groups, 2, torch.arange(8), step, step // context.steps_per_epoch)

    def train_step(self, method: Method, step: int) -> Tensor:
        """The loss of one optimizer step."""
        optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.05)
        optimizer.zero_grad()
        loss: Tensor = method(self.batch(step)).loss
        loss.backward()
        method.after_backward(step)
        optimizer.step()
        method.after_step()
        return loss.detach()

    def test_it_gives_a_finite_scalar(self) -> None:
        result = self.build()(self.batch())
        require(isinstance(result, MethodOutput), "forward must return a MethodOutput")
        require(result.loss.ndim == 0, f"the loss must be a scalar, not of shape {tuple(result.loss.shape)}")
        require(bool(result.loss.isfinite()), f"the loss must be finite, not {result.loss.item()}")
        for name, value in result.terms.items():
            require(isinstance(value, Tensor) and value.ndim == 0, f"the term {name!r} must be a scalar tensor")
            require(not value.requires_grad, f"the term {name!r} is logged: detach it")

    def test_it_has_the_parts_it_was_given(self) -> None:
        method = self.build()
        require(isinstance(method.backbone, _Backbone), "method.backbone must be the backbone that is trained")
        require(list(method.heads) == ["head"], "method.heads must be the recipe's heads by name")

    def test_gradients_reach_backbone_and_head(self) -> None:
        method = self.build()
        method(self.batch()).loss.backward()
        for part, module in (("the backbone", method.backbone), ("the head", method.heads["head"])):
            reached = any(p.grad is not None and bool(p.grad.any()) for p in module.parameters())
            require(reached, f"no gradient reaches {part}")
        for name, value in method.named_parameters():
            require(value.grad is None or bool(value.grad.isfinite().all()), f"the gradient of {name} is not finite")

    def test_losses_are_given_every_branch_it_announces(self) -> None:
        method = self.build()
        method(self.batch())
        loss = method.losses["agree"]
        assert isinstance(loss, _Loss)
        require(loss.seen, "the method must call the recipe's losses")
        branches = set(loss.seen[0].branches)
        require(branches == set(method.branches), f"losses see {sorted(branches)}, not {sorted(method.branches)}")

    def test_a_loss_counts_by_its_weight(self) -> None:
        totals = []
        for weight in (0.0, 1.0, 3.0):
            method = self.build(losses={"agree": (1.0, 0), "again": (weight, 0)})
            totals.append(method(self.batch()).loss.item())
        once, thrice = totals[1] - totals[0], totals[2] - totals[0]
        require(once, "a second loss must add to the first")
        right = abs(thrice - 3 * once) < 1e-3 * abs(once)
        require(right, f"a loss of weight 3 must add 3 times what one of weight 1 adds ({once:.4g}), not {thrice:.4g}")

    def test_a_loss_joins_at_its_epoch(self) -> None:
        method = self.build(losses={"agree": (1.0, 0), "later": (1.0, 1)})
        later = method.losses["later"]
        assert isinstance(later, _Loss)
        method(self.batch(0))
        require(not later.seen, "a loss must not be called before its start_epoch")
        method(self.batch(self.make_context().steps_per_epoch))
        require(later.seen, "a loss must be called from its start_epoch on")

    def test_losses_can_classify_what_they_have_kept(self) -> None:
        """Those with a queue give it the embeddings of earlier batches."""
        method = self.build()
        method(self.batch())
        loss = method.losses["agree"]
        assert isinstance(loss, _Loss)
        for name, branch in loss.seen[0].branches.items():
            wanted = [views[0] for views in branch.logits]
            found = branch.classify(branch.embeddings[0]) if branch.classify is not None else ()
            same = len(found) == len(wanted) and all(
                torch.allclose(one, other, atol=1e-5) for one, other in zip(found, wanted, strict=True)
            )
            require(same, f"classify of the branch {name!r} must give its head's logits: hand head.classify on")

    def test_a_frozen_copy_is_not_trained(self) -> None:
        method = self.build()
        self.train_step(method, 0)
        for name, value in method.named_parameters():
            require(value.requires_grad or value.grad is None, f"{name} is frozen and yet has a gradient")

    def test_it_uses_no_global_randomness(self) -> None:
        method = self.build()
        with no_global_randomness("a method"):
            method(self.batch())

    def test_its_state_is_in_its_state_dict(self) -> None:
        one, other = self.build(), self.build(seed=1)
        for step in range(3):
            self.train_step(one, step)
        other.load_state_dict(one.state_dict())
        for step in range(3, 6):
            same = torch.equal(self.train_step(one, step), self.train_step(other, step))
            require(same, "loaded from its state_dict the method goes on differently: keep its state in buffers")

    def test_replaced_weights_count_from_the_first_step(self) -> None:
        """As when a run continues from another."""
        one, other = self.build(), self.build(seed=1)
        other.backbone.load_state_dict(one.backbone.state_dict())
        other.heads["head"].load_state_dict(one.heads["head"].state_dict())
        for method in (one, other):
            method.on_weights_loaded()
        same = torch.equal(one(self.batch()).loss, other(self.batch()).loss)
        require(same, "after on_weights_loaded the method must go on from the weights of backbone and heads")

    def test_it_works_on_any_device_without_waiting_for_it(self) -> None:
        batch = self.batch()
        with accelerator(self.build()) as (device, (method,)):
            views = tuple(map(device.tensor, batch.views))
            there = replace(batch, views=views, index=device.tensor(batch.index))
            loss = method(there).loss
            method.after_step()
            require(loss.device.type == "cuda", "the loss must be on the device of the views")
