"""Whether this machine and this installation are fit to train, and what would make training faster."""
