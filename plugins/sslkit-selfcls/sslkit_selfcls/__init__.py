"""The Self-Classifier loss and its head."""
