"""The methods that come with sslkit: how views, backbone, heads and losses are put together in a step."""
