"""Losses that discover classes in good features: SCAN, TEMI, SeCu, self-labelling and RUC."""
