"""Data: stores of uint8 images, the seeded loader, splits, and the built-in data sets."""
