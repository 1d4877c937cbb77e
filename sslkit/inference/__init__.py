"""A run's network on image files that nobody has seen before."""
