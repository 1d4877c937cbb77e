"""Built-in methods, which combine views, backbone, heads and losses into a training step."""
