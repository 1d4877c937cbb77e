"""Comparison of runs, and the HTML report."""
