"""Evaluators of finished runs, and the metrics and classifiers that evaluators use."""
