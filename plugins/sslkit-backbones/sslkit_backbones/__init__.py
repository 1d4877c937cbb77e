"""Backbones with torchvision's key names, and one for tiny images."""
