"""Losses that discover classes, given features that are already good: SCAN, TEMI, SeCu, self-labelling and RUC."""
