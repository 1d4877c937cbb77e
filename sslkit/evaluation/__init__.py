"""Evaluation: from a run folder to figures, each with its protocol."""
