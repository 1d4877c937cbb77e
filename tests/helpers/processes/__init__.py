"""Run parts of a test in other processes."""
