"""A run's network as a file for other programs, with what they need to know and a model card."""
