"""Semantic segmentation: an evaluator, and data sets with a class for every pixel."""
