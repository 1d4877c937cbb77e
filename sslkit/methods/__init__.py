"""Built-in methods, which combine views, backbone, heads and losses in a training step."""
