"""Recipes: reading, overriding, checking and resolving the TOML file a run starts from."""
