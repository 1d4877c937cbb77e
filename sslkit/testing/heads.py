"""What is promised of heads."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from sslkit.contracts.head import Head, HeadOutput
from sslkit.testing.accelerator import accelerator
from sslkit.testing.base import ComponentTests, no_global_randomness, require


class HeadTests(ComponentTests):
    """Subclass with ``component`` and, where needed, ``options``."""

    component: ClassVar[type[Head]]

    def build(self, seed: int = 0) -> Head:
        """The head in float32."""
        built: Head = self.make(self.make_context(), seed=seed)
        return built

    def features(self, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
        """Features of a batch."""
        context, generator = self.make_context(), torch.Generator().manual_seed(seed)
        return torch.randn(context.batch_size, context.feature_dim, generator=generator).to(dtype)

    def step(self, head: Head, number: int) -> Tensor:
        """The outputs of one training step, joined."""
        optimizer = torch.optim.SGD([p for p in head.parameters() if p.requires_grad] or [torch.zeros(1)], lr=0.1)
        output = head(self.features(number))
        joined = torch.cat([output.embedding, *output.logits], 1)
        joined.square().mean().backward()
        head.after_backward(number)
        optimizer.step()
        head.after_step()
        return joined.detach()

    def test_outputs_are_as_announced(self) -> None:
        head, batch = self.build(), self.make_context().batch_size
        output = head(self.features())
        require(isinstance(output, HeadOutput), "forward must return a HeadOutput")
        found = tuple(output.embedding.shape)
        require(found == (batch, head.embedding_dim), f"embeddings are {found}, embedding_dim is {head.embedding_dim}")
        shapes = tuple(tuple(logits.shape) for logits in output.logits)
        announced = tuple((batch, count) for count in head.classifiers)
        require(shapes == announced, f"logits are {shapes}, classifiers announces {announced}")
        finite = all(bool(made.isfinite().all()) for made in (output.embedding, *output.logits))
        require(finite, "embeddings and logits must be finite")

    def test_embeddings_with_classifiers_have_length_1(self) -> None:
        head = self.build()
        if head.classifiers:
            norms = head(self.features()).embedding.norm(dim=1)
            right = torch.allclose(norms, torch.ones_like(norms), atol=1e-4)
            require(right, "a head with classifiers must L2-normalise its embeddings")

    def test_classify_gives_the_logits_of_any_embeddings(self) -> None:
        head = self.build().eval()
        output = head(self.features())
        again = head.classify(output.embedding)
        same = len(again) == len(output.logits) and all(map(torch.allclose, again, output.logits))
        require(same, "classify(embedding) must give the logits of forward: losses use it for their queues")

    def test_autocast_keeps_classification_in_float32(self) -> None:
        head = self.build()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = head(self.features(dtype=torch.bfloat16))
        for logits in output.logits:
            require(logits.dtype == torch.float32, f"logits must be float32 under autocast, not {logits.dtype}")

    def test_gradients_are_finite_and_reach_every_parameter(self) -> None:
        head, features = self.build(), self.features().requires_grad_()
        output = head(features)
        # Not the sum of squares: of normalised embeddings that is a constant.
        generator = torch.Generator().manual_seed(0)
        made = [output.embedding, *output.logits]
        total = torch.stack([(own * torch.randn(own.shape, generator=generator)).sum() for own in made]).sum()
        total.backward()
        for name, value in (("the features", features), *head.named_parameters()):
            if value.requires_grad:
                reached = value.grad is not None and bool(value.grad.isfinite().all())
                require(reached, f"no finite gradient reaches {name}")
        require(features.grad is not None and bool(features.grad.any()), "no gradient reaches the features")

    def test_in_eval_mode_each_image_stands_alone(self) -> None:
        head, features = self.build().eval(), self.features()
        with torch.no_grad():
            whole, part = head(features).embedding[:3], head(features[:3]).embedding
        require(torch.allclose(whole, part, atol=1e-5), "in eval mode an embedding must not depend on the other images")

    def test_it_uses_no_global_randomness(self) -> None:
        head, features = self.build().eval(), self.features()
        with no_global_randomness("the head in eval mode"):
            head(features)

    def test_its_state_is_in_its_state_dict(self) -> None:
        one, other = self.build(), self.build(seed=1)
        for number in range(3):
            self.step(one, number)
        other.load_state_dict(one.state_dict())
        for head in (one, other):
            head.zero_grad()
        for number in range(3, 6):
            same = torch.equal(self.step(one, number), self.step(other, number))
            require(same, "loaded from its state_dict the head goes on differently: keep its state in buffers")

    def test_it_works_on_any_device_without_waiting_for_it(self) -> None:
        with accelerator(self.build()) as (device, (head,)):
            output = head(device.tensor(self.features()))
            head.after_step()
            for made in (output.embedding, *output.logits):
                require(made.device.type == "cuda", "outputs must be on the device of the features")
