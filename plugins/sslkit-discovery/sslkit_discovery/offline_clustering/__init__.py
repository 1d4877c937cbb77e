"""Losses that assign all training images to clusters between training steps (offline clustering)."""
