"""Propose a recipe for a folder of images: rules with reasons, and the TOML text."""
