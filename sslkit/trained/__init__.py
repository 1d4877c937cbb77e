"""The network of a finished run."""
