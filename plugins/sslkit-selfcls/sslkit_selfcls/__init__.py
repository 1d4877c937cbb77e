"""The Self-Classifier loss and head."""
