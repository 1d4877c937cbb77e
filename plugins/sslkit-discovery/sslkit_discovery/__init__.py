"""Losses that discover classes in good features: SCAN, TEMI, SeCu and self-labelling."""
