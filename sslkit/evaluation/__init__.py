"""Evaluate a finished run: evaluators, and the metrics and classifiers that they use."""
