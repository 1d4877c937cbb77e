"""Measure a training step against the bare backbone (``sslkit bench``)."""
