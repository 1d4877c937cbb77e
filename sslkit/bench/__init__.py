"""Benchmark of a recipe's training against its bare backbone (``sslkit bench``)."""
