"""Propose a recipe for a folder of images, with a reason for each value."""
