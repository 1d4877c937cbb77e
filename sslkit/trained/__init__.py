"""The network of a finished run: load it, extract features with it and cache them."""
