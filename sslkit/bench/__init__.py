"""Compare the training speed of a recipe with that of its backbone alone (``sslkit bench``)."""
