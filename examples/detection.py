"""Object detection with torchvision's Faster R-CNN on a backbone that sslkit trained.

    sslkit train recipes/quickstart.toml
    python examples/detection.py                     # the latest run; or: python examples/detection.py RUN

The images show digits on textured backgrounds, from ``sslkit-segmentation``. For your own images, pass the number of
classes to ``build_detector``, and images and boxes to its model as torchvision documents them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign, box_iou, masks_to_boxes

import sslkit
from sslkit_segmentation.digit_scenes import DigitScenes


class Pyramid(nn.Module):
    """Feature pyramid on a backbone's feature maps, as Faster R-CNN expects it.

    Args:
        backbone: the trained backbone.
        strides: strides of the feature maps to use.
        channels: channels of the images.
        width: channels of each map of the pyramid.
    """

    def __init__(self, backbone: sslkit.Backbone, strides: Sequence[int], channels: int, width: int = 64) -> None:
        super().__init__()
        self.backbone = backbone
        self.strides = strides
        with torch.no_grad():
            maps = backbone.feature_maps(torch.zeros(1, channels, 64, 64))
        self.pyramid = FeaturePyramidNetwork([maps[stride].shape[1] for stride in strides], width)
        self.out_channels = width

    def forward(self, images: Tensor) -> Mapping[str, Tensor]:
        maps = self.backbone.feature_maps(images)
        outputs: Mapping[str, Tensor] = self.pyramid({str(stride): maps[stride] for stride in self.strides})
        return outputs


def build_detector(
    trained: sslkit.TrainedBackbone, classes: int, side: int, strides: Sequence[int], anchors: Sequence[int]
) -> FasterRCNN:
    """Return Faster R-CNN on a trained backbone.

    Args:
        trained: the backbone, from ``sslkit.load_backbone``.
        classes: number of object classes, including the background.
        side: shorter side in pixels that images are resized to.
        strides: strides of the feature maps on which objects are detected.
        anchors: side in pixels of the anchor boxes, for each stride.
    """
    names = [str(stride) for stride in strides]
    return FasterRCNN(
        Pyramid(trained.backbone, strides, trained.channels),
        num_classes=classes,
        min_size=side,
        max_size=4 * side,
        image_mean=list(trained.preprocessing.mean),
        image_std=list(trained.preprocessing.std),
        rpn_anchor_generator=AnchorGenerator(tuple((anchor,) for anchor in anchors), ((0.7, 1.0, 1.4),) * len(strides)),
        box_roi_pool=MultiScaleRoIAlign(featmap_names=names, output_size=7, sampling_ratio=2),
        # Small images hold few objects, so torchvision's thousands of proposals would only cost time.
        rpn_pre_nms_top_n_train=200,
        rpn_post_nms_top_n_train=50,
        rpn_pre_nms_top_n_test=200,
        rpn_post_nms_top_n_test=50,
        box_batch_size_per_image=32,
    )


def scenes(split: str, channels: int, count: int) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """Return images in [0, 1] of one digit each, with its box and class in torchvision's format."""
    data = DigitScenes(DigitScenes.Options(train=count, test=count, most_digits=1, channels=channels)).load(split)
    assert data.masks is not None
    images = data.images.gather(torch.arange(count)).float() / 255
    labels = data.masks.flatten(1).amax(1).long()
    boxes = masks_to_boxes(data.masks > 0) + torch.tensor([0, 0, 1, 1])
    return [
        (image, {"boxes": box[None], "labels": label[None]})
        for image, box, label in zip(images, boxes, labels, strict=True)
    ]


def train(model: FasterRCNN, examples: Sequence[tuple[Tensor, dict[str, Tensor]]], epochs: int) -> None:
    """Train all parameters of a detector, with eight images per step."""
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(epochs):
        for indices in torch.randperm(len(examples)).split(8):
            batch = [examples[index] for index in indices.tolist()]
            losses = model([image for image, _ in batch], [target for _, target in batch])
            optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            optimizer.step()


@torch.no_grad()
def evaluate(model: FasterRCNN, examples: Sequence[tuple[Tensor, dict[str, Tensor]]]) -> tuple[float, float]:
    """Return recall and accuracy on images of one object, both in [0, 1].

    Recall is the fraction of images whose best box has an IoU above 0.5; accuracy also requires the right class.
    """
    model.eval()
    detected = correct = 0
    for image, target in examples:
        (best,) = model([image])
        if len(best["boxes"]) and box_iou(best["boxes"][:1], target["boxes"]).item() > 0.5:
            detected += 1
            correct += int(best["labels"][0] == target["labels"][0])
    return detected / len(examples), correct / len(examples)


def main() -> None:
    """Train on 400 scenes, and evaluate on 200 scenes of digits from the test split."""
    trained = sslkit.load_backbone(sys.argv[1] if len(sys.argv) > 1 else None)
    torch.manual_seed(0)
    model = build_detector(trained, classes=11, side=48, strides=(2, 4), anchors=(16, 24))
    train(model, scenes("train", trained.channels, 400), epochs=5)
    recall, accuracy = evaluate(model, scenes("test", trained.channels, 200))
    print(f"200 test scenes: recall {recall:.3f}, accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
