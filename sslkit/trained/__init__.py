"""A finished network: load it, extract features with it, cache them."""
