"""Evaluation: from a run folder to metrics, each with its protocol."""
