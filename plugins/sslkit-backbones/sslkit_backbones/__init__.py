"""Backbones on torchvision's modules and key names."""
