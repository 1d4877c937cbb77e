"""Built-in methods: how views, backbone, heads and losses form a training step."""
