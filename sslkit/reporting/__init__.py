"""Comparison of runs, the HTML report, and the page for naming discovered classes."""
