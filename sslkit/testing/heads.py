"""Conformance tests for heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from sslkit.contracts.head import Head, HeadOutput
from sslkit.testing.base import ComponentTests, no_global_randomness, require
from sslkit.testing.fake_device import fake_device
from sslkit.testing.graphs import own_gradients, require_every_image, require_no_kept_graph


class HeadTests(ComponentTests):
    """Conformance tests for a head. Set ``component`` and, if needed, ``options``."""

    component: ClassVar[type[Head]]

    def build(self, seed: int = 0) -> Head:
        """Build the head in float32."""
        head: Head = self.make(self.make_context(), seed=seed)
        return head

    def features(self, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return random features ``[B, D]``."""
        context, generator = self.make_context(), torch.Generator().manual_seed(seed)
        return torch.randn(context.batch_size, context.feature_dim, generator=generator).to(dtype)

    def train_step(self, head: Head, step: int) -> Tensor:
        """Train the head on random features for one step; return embeddings and logits, joined along dimension 1."""
        optimizer = torch.optim.SGD([p for p in head.parameters() if p.requires_grad] or [torch.zeros(1)], lr=0.1)
        output = head(self.features(step))
        outputs = torch.cat([output.embedding, *output.logits], 1)
        outputs.square().mean().backward()
        head.after_backward(step)
        optimizer.step()
        head.after_step()
        return outputs.detach()

    def test_outputs_have_the_announced_shapes(self) -> None:
        head, batch = self.build(), self.make_context().batch_size
        output = head(self.features())
        require(isinstance(output, HeadOutput), "forward must return a HeadOutput")
        expected, actual = (batch, head.embedding_dim), tuple(output.embedding.shape)
        require(actual == expected, f"embeddings have shape {actual}, not {expected}")
        shapes = tuple(tuple(logits.shape) for logits in output.logits)
        announced = tuple((batch, count) for count in head.classifiers)
        require(shapes == announced, f"logits have shapes {shapes}, not {announced}")
        finite = all(bool(tensor.isfinite().all()) for tensor in (output.embedding, *output.logits))
        require(finite, "embeddings and logits must be finite")

    def test_embeddings_of_a_head_with_classifiers_are_l2_normalised(self) -> None:
        head = self.build()
        if head.classifiers:
            norms = head(self.features()).embedding.norm(dim=1)
            normalised = torch.allclose(norms, torch.ones_like(norms), atol=1e-4)
            require(normalised, "a head with classifiers must L2-normalise its embeddings")

    def test_classify_gives_the_logits_of_forward(self) -> None:
        head = self.build().eval()
        output = head(self.features())
        again = head.classify(output.embedding)
        same = len(again) == len(output.logits) and all(map(torch.allclose, again, output.logits))
        require(same, "classify(embedding) must give the logits of forward: losses use it for queued embeddings")

    def test_logits_are_float32_under_autocast(self) -> None:
        head = self.build()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = head(self.features(dtype=torch.bfloat16))
        for logits in output.logits:
            require(logits.dtype == torch.float32, f"logits must be float32 under autocast, not {logits.dtype}")

    def test_gradients_are_finite_and_reach_every_parameter(self) -> None:
        head, features = self.build(), self.features().requires_grad_()
        output = head(features)
        # Random weights, because the sum of squares of normalised embeddings is constant.
        generator = torch.Generator().manual_seed(0)
        tensors = [output.embedding, *output.logits]
        total = torch.stack([(own * torch.randn(own.shape, generator=generator)).sum() for own in tensors]).sum()
        total.backward()
        for name, value in (("the features", features), *head.named_parameters()):
            if value.requires_grad:
                finite = value.grad is not None and bool(value.grad.isfinite().all())
                require(finite, f"no finite gradient reaches {name}")
        require(features.grad is not None and bool(features.grad.any()), "no gradient reaches the features")

    def test_gradients_reach_every_image(self) -> None:
        features = self.features().requires_grad_()
        reached = own_gradients(self.build()(features).embedding, features)
        require_every_image(reached, "no gradient of their embedding reaches the images")

    def test_input_features_are_not_modified(self) -> None:
        """Check that the head does not write into its input, because all heads read the same features."""
        head, features = self.build(), self.features()
        for training in (True, False):
            with torch.no_grad():
                head.train(training)(features)
            require(torch.equal(features, self.features()), "the head must not modify its input features")

    def test_no_graph_is_kept_after_a_step(self) -> None:
        head = self.build()

        def step(mark: Callable[[Tensor], Tensor], number: int) -> Tensor:
            output = head(mark(self.features(number).requires_grad_()))
            return torch.cat([output.embedding, *output.logits], 1).mean()

        require_no_kept_graph("the head", step)

    def test_eval_embeddings_do_not_depend_on_other_images(self) -> None:
        head, features = self.build().eval(), self.features()
        with torch.no_grad():
            full, part = head(features).embedding[:3], head(features[:3]).embedding
        require(torch.allclose(full, part, atol=1e-5), "in eval mode an embedding must not depend on the other images")

    def test_global_random_state_is_not_used(self) -> None:
        head, features = self.build().eval(), self.features()
        with no_global_randomness("the head in eval mode"):
            head(features)

    def test_state_dict_restores_the_full_state(self) -> None:
        one, other = self.build(), self.build(seed=1)
        for step in range(3):
            self.train_step(one, step)
        other.load_state_dict(one.state_dict())
        for head in (one, other):
            head.zero_grad()
        for step in range(3, 6):
            same = torch.equal(self.train_step(one, step), self.train_step(other, step))
            require(same, "after load_state_dict the head trains differently: keep all state in buffers")

    def test_works_on_any_device_without_a_device_sync(self) -> None:
        with fake_device(self.build()) as (device, (head,)):
            output = head(device.tensor(self.features()))
            head.after_step()
            for tensor in (output.embedding, *output.logits):
                require(tensor.device.type == "cuda", "outputs must be on the device of the features")
