"""Load the network of a finished run."""
