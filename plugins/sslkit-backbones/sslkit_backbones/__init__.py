"""Backbones: ResNet-18 and AlexNet with torchvision's parameter names, a small network, and timm's models."""
