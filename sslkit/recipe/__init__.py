"""Recipes: the TOML files that describe a run. They are read, overridden by ``--set``, checked and resolved."""
