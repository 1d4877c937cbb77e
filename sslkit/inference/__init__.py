"""Run a trained network on new image files."""
