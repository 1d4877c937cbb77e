"""Builds the components that a recipe names and connects them."""
