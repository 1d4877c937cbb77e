"""Semantic segmentation: an evaluator, and data sets with masks (a class for every pixel)."""
